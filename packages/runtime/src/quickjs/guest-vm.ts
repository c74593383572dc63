import { createHash } from 'node:crypto'
import { systemClock } from '@enablement/core'
import { EvalFlags, type QuickJS } from 'quickjs-wasi'
import type { ConsoleLine, GuestError, HostAnswer, HostCall, RunEnd } from '../sandbox/sandbox-host.ts'
import { cpuClock } from './cpu-clock.ts'
import { engineCalls } from './engine-calls.ts'
import { type EngineExports, setInterruptHandler } from './engine-exports.ts'
import { decodeImage, type EnginePointers, encodeImage } from './engine-image.ts'
import { guestPrelude } from './guest-prelude.ts'
import { guestWorld } from './guest-world.ts'
import type { PristineMemory } from './pristine-memory.ts'
import type { PristineVm } from './pristine-vm.ts'
import { BOUNDS, type Engine, type ImageFault, STOP, UNREADABLE_ERROR, type VmSpec, WORD } from './worker-protocol.ts'

/**
 * Stack of the interpreter. With the 4 MiB of native stack that the worker is given, runaway recursion ends as the
 * guest's own RangeError; with more, V8's stack ends first and the VM is lost.
 */
const STACK_BYTES = 262_144

/** What the engine's own bookkeeping may use above the guest's limit, so that an error at the limit can be described. */
const RESERVE_BYTES = 1_048_576

/** The engine counts what it has allocated two words behind the limit that it holds the count against. */
const COUNT_BEHIND_LIMIT_BYTES = 8

const CALLBACK_NAMES = ['call', 'random', 'console'] as const

/** What the VM tells its thread. */
export interface VmHooks {
  onCall(call: HostCall): void
  onConsole(line: ConsoleLine): void
  onPressure(): void
}

/** One QuickJS VM and the evaluation in it. A thrown error means that it is tainted. */
export interface GuestVm {
  readonly tainted: string | undefined
  readonly callsInFlight: number
  /** Tells the guest's clock what time it is. */
  setWall(wallAt: number): void
  /** Evaluates code up to its first await. Undefined: it goes on. */
  begin(code: string): RunEnd | undefined
  /** How the evaluation stands. Undefined: it goes on. */
  settled(): RunEnd | undefined
  /** Runs one pending job. `idle`: there was none. */
  runJob(): RunEnd | 'ran' | 'idle'
  /** Whether the guest holds so much that it must stop here; collects garbage before it says so. */
  mustStop(): boolean
  /** Interrupts whatever runs longer than this from now on. */
  allow(durationMs: number): void
  /** Interrupts it once it has computed for so long from now on; undefined: never. */
  allowCpu(cpuMs: number | undefined): void
  /** Leaves a notice, JSON, for the guest's listeners. The oldest of too many goes. */
  tell(noticeJson: string): void
  /** Lets the guest's listeners hear, as a job, what they have not heard. */
  deliver(): void
  answer(callId: number, answer: HostAnswer): RunEnd | undefined
  /** Forgets the evaluation and its calls: nothing of it is resumed later. */
  abandon(): void
  pendingCalls(): readonly HostCall[]
  readonly suspended: boolean
  /** Whether it has computed for as long as it may. */
  readonly cpuSpent: boolean
  /** The whole state, as what sets it off from a pristine VM of the same engine. */
  capture(pristine: PristineMemory): Uint8Array<ArrayBuffer>
  /** What the guest's chance goes on from, which is no part of the image. */
  chance(): Uint8Array<ArrayBuffer>
}

interface Parts extends Pick<PristineVm, 'vm' | 'engine' | 'world'> {
  readonly pointers: EnginePointers
  readonly hooks: VmHooks
  readonly module: Engine
  readonly spec: VmSpec
}

/**
 * The image of an empty guest: the prelude has run, and nothing else. It depends on the engine alone, for clock and
 * chance stand still. Takes the VM over.
 */
export function blankImage(module: Engine, pristine: PristineVm): Uint8Array<ArrayBuffer> {
  const { vm, engine, memory } = pristine
  const callbacks = CALLBACK_NAMES.map((name) => vm.newFunction(name, () => vm.undefined))
  engine.qjs_set_max_stack_size(STACK_BYTES)
  engine.qjs_set_interrupt_handler(1)
  const factory = vm.evalCode(guestPrelude, 'prelude')
  const dispatcher = vm.callFunction(factory, vm.undefined, ...callbacks)
  for (const handle of [factory, ...callbacks]) handle.dispose()
  const pointers: EnginePointers = {
    ...memory.pointers,
    // The box stays: it is the only reference to the prelude, in this VM and in every image of it.
    dispatcher: vm.exportHandle(dispatcher),
    memoryCount: memoryCountOf(vm, engine),
    evaluation: 0,
    inner: false,
    // No digest: whoever gets it is shown its functions.
    functions: 0
  }
  if (engine.__stack_pointer.value !== pointers.stackPointer) throw new Error('the stack pointer moved')
  return encodeImage(engine.memory.buffer, pointers, module.hash, memory)
}

/** Brings an image back to life in a pristine VM, which it takes over, or says what is wrong with the image. */
export function restoreVm(
  module: Engine,
  spec: VmSpec,
  wallAt: number,
  image: Uint8Array,
  hooks: VmHooks,
  pristine: PristineVm
): GuestVm | ImageFault {
  const decoded = decodeImage(image, module.hash, pristine.memory, module.memoryCapBytes)
  if ('fault' in decoded) return decoded
  const { pointers, pages } = decoded
  const { vm, engine, world } = pristine
  Object.assign(world, guestWorld(wallAt, spec.seed, spec.randomness))
  const missing = pages - engine.memory.buffer.byteLength / 65_536
  if (missing > 0) engine.memory.grow(missing)
  decoded.applyTo(engine.memory.buffer)
  engine.qjs_set_runtime_and_context(pointers.runtime, pointers.context)
  engine.__stack_pointer.value = pointers.stackPointer
  engine.qjs_set_memory_limit(spec.memoryLimitBytes)
  engine.qjs_set_max_stack_size(STACK_BYTES)
  engine.qjs_set_interrupt_handler(1)
  return guestVm({ vm, engine, world, pointers, hooks, module, spec })
}

/**
 * Finds the word in which the engine counts allocated bytes, the very count that its limit bounds. Reading it costs
 * nothing and is exact; the official call walks the heap (16 ms at 1.4 million allocations) and knows only what the
 * interpreter asked for, up to 6 % less than what is counted. The limit is a static of the module, so setting it to two
 * values shows where it lies. Throws when this is not the engine that we know.
 */
function memoryCountOf(vm: QuickJS, engine: EngineExports): number {
  const words = new Uint32Array(engine.memory.buffer)
  const [first, second] = [0x5eed_0b5e, 0x2b1d_e5a7] as const
  engine.qjs_set_memory_limit(first)
  const candidates: number[] = []
  for (let at = words.indexOf(first); at !== -1; at = words.indexOf(first, at + 1)) candidates.push(at)
  engine.qjs_set_memory_limit(second)
  const [limit, ...others] = candidates.filter((at) => words[at] === second)
  const count = words[(limit ?? 0) + COUNT_BEHIND_LIMIT_BYTES / 4] ?? 0
  const asked = vm.getMemoryUsage().mallocSize
  if (limit === undefined || others.length > 0 || count < asked || count > engine.memory.buffer.byteLength) {
    throw new Error("the engine's memory count is not where it was")
  }
  return limit * 4 + COUNT_BEHIND_LIMIT_BYTES
}

function guestVm({ vm, engine, world, pointers, hooks, module, spec }: Parts): GuestVm {
  const words = new Int32Array(spec.words)
  const { dispatch, property, readText, stringBox, textFrom, writeText } = engineCalls(engine, pointers.dispatcher)
  const { stackPointer, memoryCount } = pointers
  let { evaluation, inner } = pointers
  const namesText = JSON.stringify(spec.hostFunctions)
  const functions = createHash('sha256').update(namesText).digest().readUInt32LE(0)
  let tainted: string | undefined
  let callsInFlight = 0
  let pressed = false
  let interruptible = false
  let allowedUntil = Number.POSITIVE_INFINITY
  /** Processor time at which the guest is interrupted, what it has used, and since when it is at it. */
  let cpuAllowedMs = Number.POSITIVE_INFINITY
  let cpuUsedMs = 0
  let cpuSince = 0
  let counters = new Uint32Array(engine.memory.buffer)

  const usedBytes = (): number => {
    // Growth replaces the buffer; the old view then has no length.
    if (counters.length === 0) counters = new Uint32Array(engine.memory.buffer)
    return counters[memoryCount >>> 2] as number
  }

  const sample = (): number => {
    const used = usedBytes()
    Atomics.store(words, WORD.usedBytes, used)
    if (used > Atomics.load(words, WORD.peakBytes) >>> 0) Atomics.store(words, WORD.peakBytes, used)
    Atomics.store(words, WORD.residentBytes, counters.byteLength)
    Atomics.add(words, WORD.ticks, 1)
    return used
  }

  const cpuSpentByNow = (): boolean =>
    cpuAllowedMs !== Number.POSITIVE_INFINITY && cpuUsedMs + cpuClock() - cpuSince > cpuAllowedMs

  const onInterrupt = (): boolean => {
    const used = sample()
    if (used >= spec.criticalAtBytes && !pressed) {
      pressed = true
      hooks.onPressure()
    }
    if (!interruptible) return false
    if (cpuSpentByNow()) return true
    if (allowedUntil !== Number.POSITIVE_INFINITY && systemClock.monotonic() > allowedUntil) return true
    return Atomics.load(words, WORD.stop) === STOP.interrupt
  }

  /** Enters the engine; whatever unwinds through it other than a guest exception, or moves the stack, taints it. */
  const enter = <T>(work: () => T, options: { readonly interruptible: boolean; readonly reserve?: boolean }): T => {
    if (tainted !== undefined) throw new Error(tainted)
    interruptible = options.interruptible
    const counted = cpuAllowedMs !== Number.POSITIVE_INFINITY
    if (counted) cpuSince = cpuClock()
    if (options.reserve === true) engine.qjs_set_memory_limit(spec.memoryLimitBytes + RESERVE_BYTES)
    try {
      const result = work()
      if (engine.__stack_pointer.value !== stackPointer) throw new Error('the stack pointer moved')
      return result
    } catch (error) {
      tainted = error instanceof Error ? `${error.name}: ${error.message}` : 'a trap'
      throw new Error(tainted, { cause: error })
    } finally {
      interruptible = false
      if (counted) cpuUsedMs += cpuClock() - cpuSince
      if (options.reserve === true && tainted === undefined) engine.qjs_set_memory_limit(spec.memoryLimitBytes)
      if (tainted === undefined) sample()
    }
  }

  /** What a thrown value means. Takes the box over. */
  const endOf = (thrown: number): RunEnd => {
    if (engine.qjs_is_null(thrown) === 1 && usedBytes() >= spec.criticalAtBytes) {
      // At the very limit the engine cannot even make the error: it throws null.
      engine.qjs_free_value(thrown)
      return { outcome: 'exhausted' }
    }
    engine.qjs_set_memory_limit(spec.memoryLimitBytes + RESERVE_BYTES)
    const text = textFrom('describe', [thrown])
    engine.qjs_set_memory_limit(spec.memoryLimitBytes)
    if (text === undefined && usedBytes() >= spec.criticalAtBytes) return { outcome: 'exhausted' }
    const error = text === undefined ? UNREADABLE_ERROR : (JSON.parse(text) as GuestError)
    if (error.name === 'InternalError' && error.message === 'out of memory') return { outcome: 'exhausted' }
    if (Atomics.load(words, WORD.stop) === STOP.interrupt) return { outcome: 'interrupted' }
    if (cpuSpentByNow()) return { outcome: 'interrupted', on: 'cpu' }
    return { outcome: 'failed', error }
  }

  const releaseEvaluation = (): void => {
    if (evaluation !== 0) engine.qjs_free_value(evaluation)
    evaluation = 0
    inner = false
  }

  const settled = (): RunEnd | undefined => {
    const state = engine.qjs_promise_state(evaluation)
    if (state === 0) return undefined
    const result = engine.qjs_promise_result(evaluation)
    if (state === 2) {
      releaseEvaluation()
      return endOf(result)
    }
    // A script with top-level await is fulfilled with { value }; a promise there is the evaluation's second half.
    const value = inner ? result : property(result, 'value')
    if (!inner) engine.qjs_free_value(result)
    releaseEvaluation()
    if (value === undefined) return { outcome: 'exhausted' }
    if (!inner && engine.qjs_is_promise(value) === 1) {
      evaluation = value
      inner = true
      return settled()
    }
    const encoded = dispatch('encode', [value])
    if (encoded === 'no-memory') return { outcome: 'exhausted' }
    if ('thrown' in encoded) return endOf(encoded.thrown)
    const json = readText(encoded.value)
    engine.qjs_free_value(encoded.value)
    if (json === undefined) return { outcome: 'exhausted' }
    return { outcome: 'completed', json: json === '' ? undefined : json }
  }

  const expose = (): void => {
    const names = stringBox(namesText)
    if (names !== undefined) textFrom('expose', [names])
  }

  const pendingCalls = (): readonly HostCall[] => {
    const text = enter(() => textFrom('pending', []), { interruptible: false, reserve: true })
    const calls = text === undefined ? [] : (JSON.parse(text) as HostCall[])
    // JSON leaves a missing argument out.
    return calls.map(({ callId, name, argumentJson, idempotencyKey }) => ({
      callId,
      name,
      argumentJson,
      idempotencyKey
    }))
  }

  vm.registerHostCallback('call', (id, name, argument) => {
    const callId = id?.toNumber() ?? 0
    const idempotencyKey = `${spec.sandboxId}:${spec.incarnation}:${callId}`
    callsInFlight += 1
    hooks.onCall({
      callId,
      name: name?.toString() ?? '',
      argumentJson: argument === undefined || argument.isUndefined ? undefined : argument.toString(),
      idempotencyKey
    })
    return vm.newString(idempotencyKey)
  })
  vm.registerHostCallback('console', (level, text) => {
    hooks.onConsole({
      level: (level?.toString() ?? 'info') as ConsoleLine['level'],
      text: (text?.toString() ?? '').slice(0, BOUNDS.consoleChars)
    })
    return vm.undefined
  })
  vm.registerHostCallback('random', () => vm.newNumber(world.random.float()))
  setInterruptHandler(vm, onInterrupt)
  // A guest restored for somebody else finds that one's functions; else nothing in its memory changes.
  if (functions !== pointers.functions) enter(expose, { interruptible: false, reserve: true })
  enter(() => undefined, { interruptible: false })
  callsInFlight = evaluation === 0 ? 0 : pendingCalls().length

  return {
    get tainted() {
      return tainted
    },
    get callsInFlight() {
      return callsInFlight
    },
    get suspended() {
      return evaluation !== 0
    },
    get cpuSpent() {
      return cpuUsedMs > cpuAllowedMs
    },
    setWall: (wallAt) => world.clock.set(wallAt),
    begin: (code) =>
      enter(
        () => {
          pressed = false
          const source = writeText(code)
          const fileName = writeText('evaluation')
          if (source === undefined || fileName === undefined) return { outcome: 'exhausted' }
          const box = engine.qjs_eval(source.address, source.bytes, fileName.address, EvalFlags.ASYNC)
          engine.wasm_free(source.address)
          engine.wasm_free(fileName.address)
          if (engine.qjs_is_exception(box) === 1) {
            engine.qjs_free_value(box)
            return endOf(engine.qjs_get_exception())
          }
          evaluation = box
          return settled()
        },
        { interruptible: true }
      ),
    settled: () => enter(settled, { interruptible: true }),
    runJob: () =>
      enter<RunEnd | 'ran' | 'idle'>(
        () => {
          if (engine.qjs_is_job_pending() === 0) return 'idle'
          if (engine.qjs_execute_pending_job() >= 0) return 'ran'
          const end = endOf(engine.qjs_get_exception())
          // Only these two leave a job half done; any other failure has gone to the job's own promise.
          return end.outcome === 'failed' ? 'ran' : end
        },
        { interruptible: true }
      ),
    mustStop() {
      pressed = false
      if (usedBytes() < spec.criticalAtBytes) return false
      enter(() => engine.qjs_run_gc(), { interruptible: false })
      return usedBytes() >= spec.criticalClearBytes
    },
    allow(durationMs) {
      allowedUntil = systemClock.monotonic() + durationMs
    },
    allowCpu(cpuMs = Number.POSITIVE_INFINITY) {
      cpuAllowedMs = cpuMs
      cpuUsedMs = 0
    },
    tell(noticeJson) {
      enter(
        () => {
          const notice = stringBox(noticeJson)
          if (notice !== undefined) textFrom('tell', [notice])
        },
        { interruptible: false, reserve: true }
      )
    },
    deliver() {
      enter(() => textFrom('deliver', []), { interruptible: false, reserve: true })
    },
    answer: (callId, answer) =>
      enter(
        () => {
          const text = stringBox(answer.outcome === 'fulfilled' ? (answer.json ?? '') : answer.message)
          if (text === undefined) return { outcome: 'exhausted' }
          callsInFlight -= 1
          const result = dispatch('settle', [
            engine.qjs_new_number(callId),
            engine.qjs_new_number(answer.outcome === 'fulfilled' ? 1 : 0),
            text
          ])
          if (result === 'no-memory') return { outcome: 'exhausted' }
          if ('thrown' in result) {
            const end = endOf(result.thrown)
            return end.outcome === 'failed' ? undefined : end
          }
          engine.qjs_free_value(result.value)
          return undefined
        },
        { interruptible: true }
      ),
    abandon: () =>
      enter(
        () => {
          releaseEvaluation()
          callsInFlight = 0
          textFrom('abandon', [])
        },
        { interruptible: false, reserve: true }
      ),
    pendingCalls,
    capture: (pristine) => {
      if (tainted !== undefined) throw new Error(tainted)
      return encodeImage(engine.memory.buffer, { ...pointers, evaluation, inner, functions }, module.hash, pristine)
    },
    chance: () => world.chance()
  }
}
