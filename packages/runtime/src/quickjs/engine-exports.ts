import type { QuickJS } from 'quickjs-wasi'

/** What is used of a `WebAssembly.Memory`, which Node's types leave out. */
export interface LinearMemory {
  /** Replaced by a new one whenever the memory grows. */
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/**
 * The functions of the WebAssembly module that are called directly. `quickjs-wasi` is pinned to one version and its
 * module to one hash; what is missing from a substitute is found by `engineExportsOf` before any guest runs. A number
 * named `…Box` is the address of a heap cell that owns one JS value until `qjs_free_value`.
 */
export interface EngineExports {
  readonly memory: LinearMemory
  readonly __stack_pointer: { value: number }
  qjs_eval(code: number, codeBytes: number, fileName: number, flags: number): number
  qjs_is_exception(box: number): number
  qjs_is_null(box: number): number
  qjs_is_promise(box: number): number
  qjs_get_exception(): number
  qjs_get_undefined(): number
  qjs_get_prop_string(objectBox: number, name: number): number
  qjs_new_string(text: number, textBytes: number): number
  qjs_new_number(value: number): number
  qjs_get_string_len(box: number, lengthOut: number): number
  qjs_free_cstring(text: number): void
  qjs_call(functionBox: number, thisBox: number, argumentCount: number, argumentBoxes: number): number
  qjs_dup_value(box: number): number
  qjs_free_value(box: number): void
  qjs_promise_state(promiseBox: number): number
  qjs_promise_result(promiseBox: number): number
  qjs_is_job_pending(): number
  qjs_execute_pending_job(): number
  qjs_run_gc(): void
  qjs_set_memory_limit(bytes: number): void
  qjs_set_max_stack_size(bytes: number): void
  qjs_set_interrupt_handler(enabled: number): void
  qjs_set_runtime_and_context(runtime: number, context: number): void
  qjs_get_runtime_ptr(): number
  qjs_get_context_ptr(): number
  wasm_malloc(bytes: number): number
  wasm_free(address: number): void
}

const REQUIRED = [
  'qjs_eval',
  'qjs_call',
  'qjs_promise_state',
  'qjs_promise_result',
  'qjs_execute_pending_job',
  'qjs_set_memory_limit',
  'qjs_set_runtime_and_context',
  'wasm_malloc'
] as const

/** The module's functions, which the class keeps to itself. Throws when it is not the module we know. */
export function engineExportsOf(vm: QuickJS): EngineExports {
  const { exports } = vm as unknown as { readonly exports: EngineExports }
  for (const name of REQUIRED) {
    if (typeof exports[name] !== 'function') throw new Error(`the engine does not export ${name}`)
  }
  return exports
}

/** Installs the handler without `QuickJS.applyLimits`, which writes to a runtime that a restore has yet to copy in. */
export function setInterruptHandler(vm: QuickJS, handler: () => boolean): void {
  ;(vm as unknown as { interruptHandler: () => boolean }).interruptHandler = handler
}
