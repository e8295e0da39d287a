//! What is done to the module after linking.
//!
//! V8 compiles the whole module when Envoy loads it, and inlines calls until the calling function has grown
//! to three times its size. So every proxy pays with memory, and with time until it is ready, for code that
//! is never called and for inlining calls that are made once. The compiler and the linker do not know which
//! those are; the names of functions tell.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use rustc_demangle::demangle;
use walrus::ir::{
    Call, CallIndirect, Const, Instr, InstrSeq, Value, VisitorMut, dfs_pre_order_mut,
};
use walrus::{
    ConstExpr, ElementItems, ElementKind, Function, FunctionBuilder, FunctionId, FunctionKind,
    Module, TableId, TypeId, passes,
};

/// The exports that remain in the module. The SDK exports every callback, and Envoy calls every callback
/// that is exported: for each chunk of a body, for trailers, for the log and the end of a stream.
pub const EXPORTS: [&str; 11] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// How the names of the functions that run for requests begin, or of the types whose methods they are. Their
/// calls stay direct. `alloc::raw_vec` grows vectors.
pub const REQUEST_PATH: [&str; 8] = [
    "alloc::raw_vec",
    "dlmalloc",
    "proxy_on_",
    "proxy_wasm::dispatcher",
    "request_id_filter::http_context",
    "request_id_rules::request",
    "request_id_rules::response",
    "request_id_rules::sources",
];

/// Returns the module without what is never called, and with indirect calls where V8 should inline nothing.
///
/// # Errors
/// Returns an error if the bytes are not a Wasm module, or if it has no function table or no names.
pub fn run(linked: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(linked)?;
    ensure!(
        module.funcs.iter().any(|function| function.name.is_some()),
        "the module does not name its functions; build it with the profile's `strip = \"debuginfo\"`"
    );
    remove_exports(&mut module);
    remove_unused_methods(&mut module);
    passes::gc::run(&mut module);
    call_indirectly(&mut module)?;
    Ok(module.emit_wasm())
}

fn remove_exports(module: &mut Module) {
    let exports = module.exports.iter();
    let unused: Vec<_> = exports
        .filter(|export| !EXPORTS.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for export in unused {
        module.exports.delete(export);
    }
}

/// Takes the default methods of the SDK's traits that make host calls out of the function table.
///
/// They are in it because the vtable of a context refers to all of its methods. A filter calls these by
/// name, which does not need the table, and the SDK's dispatcher calls callbacks only. Callbacks stay, even
/// those without an export: most do nothing, and the compiler may merge them with other functions that do
/// nothing.
fn remove_unused_methods(module: &mut Module) {
    let mut trap = FunctionBuilder::new(&mut module.types, &[], &[]);
    trap.name("unused method of the SDK".into());
    trap.func_body().unreachable();
    let trap = trap.finish(Vec::new(), &mut module.funcs);
    for segment in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut segment.items {
            for function in functions {
                if makes_host_calls(module.funcs.get(*function)) {
                    *function = trap;
                }
            }
        }
    }
}

/// Returns whether a function is a default method of the SDK's traits that makes host calls.
fn makes_host_calls(function: &Function) -> bool {
    let name = name(function);
    let method = name.strip_prefix("proxy_wasm::traits::");
    let method = method.and_then(|name| name.split("::").nth(1));
    method.is_some_and(|method| !is_callback(method))
}

/// Returns whether a method of the SDK's traits is one that the dispatcher calls.
#[must_use]
pub fn is_callback(method: &str) -> bool {
    method.starts_with("on_") || method.starts_with("create_") || method == "get_type"
}

/// Replaces calls by indirect calls of the same functions, which V8 does not inline, in all functions but
/// those that run for requests.
fn call_indirectly(module: &mut Module) -> Result<()> {
    let table = module.tables.main_function_table()?;
    let table = table.context("the module has no function table")?;
    let size = module.tables.get(table).initial;
    let first = i32::try_from(size)?;
    let mut calls = IndirectCalls {
        table,
        first,
        functions: Vec::new(),
        types: local_functions(module)
            .map(|function| (function.id(), function.ty()))
            .collect(),
    };
    let callers: Vec<FunctionId> = local_functions(module)
        .filter(|function| !REQUEST_PATH.iter().any(|path| is_on(path, function)))
        .map(Function::id)
        .collect();
    for function in callers {
        if let FunctionKind::Local(function) = &mut module.funcs.get_mut(function).kind {
            let body = function.entry_block();
            dfs_pre_order_mut(&mut calls, function, body);
        }
    }
    let size = size + calls.functions.len() as u64;
    let offset = ConstExpr::Value(Value::I32(first));
    let segment = module.elements.add(
        ElementKind::Active { table, offset },
        ElementItems::Functions(calls.functions),
    );
    let table = module.tables.get_mut(table);
    table.elem_segments.insert(segment);
    table.initial = size;
    table.maximum = table.maximum.map(|maximum| maximum.max(size));
    Ok(())
}

/// Returns whether the name of a function begins with `path`, or the name of the type whose method it is.
#[must_use]
pub fn is_on(path: &str, function: &Function) -> bool {
    // The name of a method of a trait is `<type as trait>::method`.
    name(function).trim_start_matches('<').starts_with(path)
}

/// Rewrites the calls of the functions that it visits.
struct IndirectCalls {
    table: TableId,
    /// The index in the table of the first of `functions`.
    first: i32,
    /// What is called indirectly.
    functions: Vec<FunctionId>,
    /// The types of all functions but imported ones. V8 does not inline those.
    types: HashMap<FunctionId, TypeId>,
}

impl IndirectCalls {
    /// Returns the index of a function in the table.
    fn index(&mut self, function: FunctionId) -> i32 {
        let known = self.functions.iter().position(|known| *known == function);
        let position = known.unwrap_or_else(|| {
            self.functions.push(function);
            self.functions.len() - 1
        });
        self.first + position as i32
    }
}

impl VisitorMut for IndirectCalls {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        for (instruction, location) in std::mem::take(&mut sequence.instrs) {
            let call = match &instruction {
                Instr::Call(Call { func }) => self.types.get(func).map(|ty| (*func, *ty)),
                _ => None,
            };
            let Some((function, ty)) = call else {
                sequence.instrs.push((instruction, location));
                continue;
            };
            let value = Value::I32(self.index(function));
            let table = self.table;
            let indirect = [
                Instr::Const(Const { value }),
                Instr::CallIndirect(CallIndirect { ty, table }),
            ];
            let indirect = indirect.map(|instruction| (instruction, location));
            sequence.instrs.extend(indirect);
        }
    }
}

fn local_functions(module: &Module) -> impl Iterator<Item = &Function> {
    let functions = module.funcs.iter();
    functions.filter(|function| matches!(function.kind, FunctionKind::Local(_)))
}

/// Returns the name of a function as it is in the source; an empty one if the module does not name it.
fn name(function: &Function) -> String {
    let mangled = function.name.as_deref().unwrap_or_default();
    format!("{:#}", demangle(mangled))
}
