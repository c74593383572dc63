import { MessageChannel, parentPort } from 'node:worker_threads'
import type { RunEnd } from '../sandbox/sandbox-host.ts'
import { createVm, type GuestVm, restoreVm, type VmHooks } from './guest-vm.ts'
import { PAGE_BYTES, type PristineMemory } from './pristine-memory.ts'
import { type PristineVm, pristineVm } from './pristine-vm.ts'
import {
  BOUNDS,
  type Engine,
  type FromWorker,
  type ImageFault,
  STOP,
  type ToWorker,
  type VmSpec,
  WORD,
  WORD_COUNT
} from './worker-protocol.ts'

/*
 * The thread under one sandbox. It runs the guest job by job and looks between two jobs whether to stop, so that a
 * guest that awaits anything is stopped whole. It knows no deadline: the host has the clock and writes the stop word.
 */

/** Jobs run before messages are read: an answered host call reaches a busy guest within a fraction of a millisecond. */
const SLICE_JOBS = 128

/**
 * What an evaluation that has settled may still do: this many jobs, and milliseconds, after which the job under way is
 * interrupted. What is left then waits for the next evaluation; no result waits for a loop that nobody awaits.
 */
const LOOSE_JOBS_MAX = 1_000
const LOOSE_MS = 50

if (parentPort === null) throw new Error('guest-worker runs in a worker thread')
const host = parentPort

/** Whom the guest's thread talks to: the host, or in a rehearsal nobody. */
let listener: Pick<typeof host, 'postMessage'> = host
let engine: Engine | undefined
/** A VM of that engine that waits for an image, and the memory that every such VM begins with. */
let spare: PristineVm | undefined
let pristine: PristineMemory | undefined
let guest: GuestVm | undefined
let words: Int32Array | undefined
let running = false
let consoleLines = 0

const post = (message: FromWorker, transfer: ArrayBuffer[] = []): void => listener.postMessage(message, transfer)

const hooks: VmHooks = {
  onCall: (call) => post({ kind: 'call', call }),
  onConsole(line) {
    consoleLines += 1
    if (consoleLines <= BOUNDS.consoleLines) return post({ kind: 'console', line })
    if (consoleLines > BOUNDS.consoleLines + 1) return
    post({
      kind: 'console',
      line: { level: 'warn', text: `more than ${BOUNDS.consoleLines} lines; the rest is dropped` }
    })
  },
  onPressure: () => post({ kind: 'pressure' })
}

const stopWord = (): number => (words === undefined ? STOP.none : Atomics.load(words, WORD.stop))

function end(outcome: RunEnd): void {
  running = false
  post({ kind: 'ended', end: outcome })
  // After the answer, which need not wait for it; before the next message, which is not read until then.
  if (guest !== undefined && guest.tainted === undefined && outcome.outcome !== 'suspended') guest.abandon()
}

/** Runs `work` in the VM; a taint ends the run. */
function inVm(work: (vm: GuestVm) => void): void {
  if (guest === undefined) return
  try {
    work(guest)
  } catch {
    if (running) end({ outcome: 'tainted', reason: guest.tainted ?? 'the engine failed' })
  }
}

function tieLooseEnds(vm: GuestVm): void {
  vm.allow(LOOSE_MS)
  for (let ran = 0; ran < LOOSE_JOBS_MAX && stopWord() === STOP.none; ran += 1) {
    if (vm.runJob() !== 'ran') break
  }
  vm.allow(Number.POSITIVE_INFINITY)
}

/** Runs jobs until the evaluation ends, must stop, waits for an answer, or the slice is over. */
function pump(vm: GuestVm): void {
  for (let ran = 0; ran < SLICE_JOBS; ran += 1) {
    const settled = vm.settled()
    if (settled !== undefined) {
      if (settled.outcome !== 'interrupted') tieLooseEnds(vm)
      return end(settled)
    }
    if (stopWord() === STOP.interrupt) return end({ outcome: 'interrupted' })
    if (vm.mustStop()) return end({ outcome: 'suspended' })
    const job = vm.runJob()
    if (job === 'idle') {
      if (vm.callsInFlight > 0) return
      const message = 'the evaluation awaits a promise that nothing can settle'
      return end({ outcome: 'failed', error: { name: 'Deadlock', message } })
    }
    if (job !== 'ran') return end(job)
  }
  setImmediate(resume)
}

function resume(): void {
  if (running) inVm(pump)
}

function start(vm: GuestVm, wallAt: number): void {
  running = true
  consoleLines = 0
  vm.setWall(wallAt)
}

async function open(
  message: ToWorker & { readonly kind: 'create' | 'restore' },
  make: (engine: Engine) => Promise<GuestVm | ImageFault>
): Promise<void> {
  try {
    if (message.engine !== undefined) {
      engine = message.engine
      spare = undefined
      pristine = undefined
    }
    if (engine === undefined) throw new Error('it was given no engine')
    words = new Int32Array(message.spec.words)
    const made = await make(engine)
    if ('fault' in made) {
      const reason = 'reason' in made ? made.reason : made.fault
      return post({ kind: 'not-opened', reason, fault: made })
    }
    guest = made
    post({
      kind: 'opened',
      evaluation: made.suspended ? 'suspended' : 'none',
      calls: made.suspended ? made.pendingCalls() : []
    })
  } catch (error) {
    post({ kind: 'not-opened', reason: error instanceof Error ? error.message : 'the engine failed' })
  }
}

function restore(message: ToWorker & { readonly kind: 'restore' }): Promise<void> {
  return open(message, async (module) => {
    const vm = spare ?? (await pristineVm(module))
    spare = undefined
    pristine = vm.memory
    return restoreVm(module, message.spec, message.wallAt, message.image, hooks, vm)
  })
}

/** Rounds until V8 has optimised the loops over an image: else it takes a millisecond for that amid the first restore. */
const REHEARSALS = 50

/**
 * Restores an empty guest and runs it, by the very functions that will do it in earnest: compiling one of them then would
 * take as long as the rest of a restore. A failure shows when the first sandbox is made.
 */
async function rehearse(withEngine: Engine): Promise<void> {
  engine = withEngine
  const spec: VmSpec = {
    words: new SharedArrayBuffer(WORD_COUNT * 4),
    sandboxId: 'rehearsal',
    memoryLimitBytes: withEngine.memoryCapBytes,
    criticalAtBytes: withEngine.memoryCapBytes,
    criticalClearBytes: withEngine.memoryCapBytes,
    hostFunctions: [],
    seed: new Uint8Array(16)
  }
  const vm = await pristineVm(withEngine)
  const image = (await createVm(withEngine, spec, 0, hooks)).capture(vm.memory)
  // V8 makes both VMs before the next message is read. Should it ever not, the thread may have been taken meanwhile.
  if (words !== undefined) return
  const nobody = new MessageChannel()
  listener = nobody.port1
  try {
    for (let round = 0; round < REHEARSALS; round += 1) {
      spare = vm
      await restore({ kind: 'restore', engine: undefined, spec, wallAt: 0, image })
      handle({ kind: 'run', code: '1', wallAt: 0 })
      vm.reset()
    }
  } finally {
    listener = host
    nobody.port1.close()
    guest = undefined
    words = undefined
  }
  // The very instance: V8 sets up some of what an instance needs when it first runs.
  if (vm.engine.memory.buffer.byteLength === vm.memory.pages * PAGE_BYTES) spare = vm
}

/** What images of this engine are told by: made when it is first needed, for most sandboxes are never captured. */
async function pristineOf(ofEngine: Engine): Promise<PristineMemory> {
  pristine ??= (await pristineVm(ofEngine)).memory
  return pristine
}

async function capture(): Promise<void> {
  try {
    if (engine === undefined || guest === undefined) throw new Error('there is no sandbox')
    const before = await pristineOf(engine)
    if (running) throw new Error('an evaluation is under way')
    const image = guest.capture(before)
    post({ kind: 'captured', image }, [image.buffer])
  } catch (error) {
    post({ kind: 'not-captured', reason: error instanceof Error ? error.message : 'the engine failed' })
  }
}

function handle(message: ToWorker): void {
  switch (message.kind) {
    case 'rehearse':
      return void rehearse(message.engine).catch(() => undefined)
    case 'practise':
      return
    case 'create':
      return void open(message, (module) => createVm(module, message.spec, message.wallAt, hooks))
    case 'restore':
      return void restore(message)
    case 'run':
      return inVm((vm) => {
        start(vm, message.wallAt)
        const ended = vm.begin(message.code)
        if (ended === undefined) return pump(vm)
        if (ended.outcome === 'completed' || ended.outcome === 'failed') tieLooseEnds(vm)
        end(ended)
      })
    case 'proceed':
      return inVm((vm) => {
        start(vm, message.wallAt)
        pump(vm)
      })
    case 'answer':
      // A suspended evaluation keeps its calls in the ledger: they are issued again after the restore.
      if (!running) return
      return inVm((vm) => {
        const ended = vm.answer(message.callId, message.answer)
        if (ended === undefined) pump(vm)
        else end(ended)
      })
    case 'wake':
      return resume()
    case 'capture':
      return void capture()
    case 'close':
      return host.close()
  }
}

host.on('message', handle)
