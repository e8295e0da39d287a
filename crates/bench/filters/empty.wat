;; The least that Envoy loads: a module that does nothing. What it costs is what any module costs.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    i32.const 0)
  (func (export "proxy_on_context_create") (param $id i32) (param $parent_id i32)))
