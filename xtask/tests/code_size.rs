//! The size of the code of a module that is written out here.

use xtask::module;

#[test]
fn the_code_section_and_the_largest_function_are_measured() {
    let module = [
        b"\0asm\x01\0\0\0".as_slice(),
        b"\x01\x04\x01\x60\0\0", // types: one, of a function without parameters and results
        b"\x03\x03\x02\0\0",     // functions: two of this type
        b"\x0a\x0a\x02",         // code: 10 bytes, two functions
        b"\x02\0\x0b",           // 2 bytes: no locals, end
        b"\x05\0\x01\x01\x01\x0b", // 5 bytes: no locals, nop, nop, nop, end
    ]
    .concat();
    let size = module::code_size(&module).unwrap();
    assert_eq!((size.section, size.functions), (10, vec![5, 2]));
}

#[test]
fn something_else_is_an_error() {
    assert!(module::code_size(b"not a module").is_err());
    let without_code = module::code_size(b"\0asm\x01\0\0\0").unwrap_err();
    assert_eq!(without_code.to_string(), "the module has no code section");
}
