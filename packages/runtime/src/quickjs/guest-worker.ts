import { MessageChannel, parentPort } from 'node:worker_threads'
import type { RunEnd } from '../sandbox/sandbox-host.ts'
import { blankImage, type GuestVm, restoreVm, type VmHooks } from './guest-vm.ts'
import { PAGE_BYTES, type PristineMemory } from './pristine-memory.ts'
import { type PristineVm, pristineVm } from './pristine-vm.ts'
import {
  BOUNDS,
  type Engine,
  type FromWorker,
  STOP,
  type ToWorker,
  type VmSpec,
  WORD,
  WORD_COUNT
} from './worker-protocol.ts'

/*
 * The thread under one sandbox at a time. It runs the guest job by job and looks between two jobs whether to stop, so that a
 * guest that awaits anything is stopped whole. It knows no deadline: the host has the clock and writes the stop word.
 */

/** Jobs run before messages are read: an answered host call reaches a busy guest within a fraction of a millisecond. */
const SLICE_JOBS = 128

/** Jobs that a guest runs before it is stopped on wish: whoever saves it again and again must not hold it in place. */
const PROGRESS_JOBS = 32

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
/** The empty guest of that engine, that every new one begins as. */
let blank: Uint8Array | undefined
let guest: GuestVm | undefined
let words: Int32Array | undefined
let running = false
/** Its evaluation was suspended on wish. */
let paused = false
/** How an evaluation ended over an answer that came while it was suspended; told when it proceeds. */
let endedMeanwhile: RunEnd | undefined
let consoleLines = 0
/** A slice is coming. */
let resuming = false
/** Since the run or the proceeding began. */
let jobsRun = 0

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
  paused = outcome.outcome === 'suspended' && outcome.on === 'wish'
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
    const stop = stopWord()
    if (stop === STOP.interrupt) return end({ outcome: 'interrupted' })
    if (vm.cpuSpent) return end({ outcome: 'interrupted', on: 'cpu' })
    if (vm.mustStop()) return end({ outcome: 'suspended', on: 'pressure' })
    if (stop === STOP.suspend && jobsRun >= PROGRESS_JOBS) return end({ outcome: 'suspended', on: 'wish' })
    const job = vm.runJob()
    if (job === 'idle') {
      if (stop === STOP.suspend) return end({ outcome: 'suspended', on: 'wish' })
      if (vm.callsInFlight > 0) return
      const message = 'the evaluation awaits a promise that nothing can settle'
      return end({ outcome: 'failed', error: { name: 'Deadlock', message } })
    }
    if (job !== 'ran') return end(job)
    jobsRun += 1
  }
  resumeLater()
}

/** Once, whatever else asks for it meanwhile: each time over would be a slice more before messages are read. */
function resumeLater(): void {
  if (resuming) return
  resuming = true
  setImmediate(() => {
    resuming = false
    resume()
  })
}

function resume(): void {
  if (running) inVm(pump)
}

function start(vm: GuestVm, { wallAt, cpuMs }: ToWorker & { readonly kind: 'run' | 'proceed' }): void {
  running = true
  consoleLines = 0
  jobsRun = 0
  vm.setWall(wallAt)
  vm.allowCpu(cpuMs)
  vm.deliver()
}

/** Brings an image to life, or the empty guest, in the VM that waits or in a new one. */
async function open(message: ToWorker & { readonly kind: 'create' | 'restore' }): Promise<void> {
  try {
    if (message.engine !== undefined) {
      engine = message.engine
      spare = undefined
      pristine = undefined
      blank = undefined
    }
    if (engine === undefined) throw new Error('it was given no engine')
    const { spec, wallAt } = message
    words = new Int32Array(spec.words)
    const image = message.kind === 'restore' ? message.image : await blankOf(engine)
    const vm = await takeSpare(engine)
    const made = restoreVm(engine, spec, wallAt, image, hooks, vm)
    if ('fault' in made) {
      spare = vm
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

async function takeSpare(ofEngine: Engine): Promise<PristineVm> {
  const vm = spare ?? (await pristineVm(ofEngine, pristine))
  spare = undefined
  pristine = vm.memory
  return vm
}

async function blankOf(ofEngine: Engine): Promise<Uint8Array> {
  blank ??= blankImage(ofEngine, await pristineVm(ofEngine, pristine))
  return blank
}

/**
 * Lets go of the guest. Its VM, an instance with a memory of its own, has no other reference: nothing in this thread
 * leads to any byte of it, and the next guest gets an instance of its own, whose memory the system has zeroed.
 */
function clear(): void {
  guest = undefined
  words = undefined
  running = false
  paused = false
  endedMeanwhile = undefined
  post({ kind: 'cleared' })
  if (engine !== undefined && spare === undefined) void setAside(engine)
}

/** Makes a VM while nobody waits for one. A failure shows when the next sandbox is made. */
async function setAside(ofEngine: Engine): Promise<void> {
  try {
    const vm = await pristineVm(ofEngine, pristine)
    if (engine === ofEngine) spare ??= vm
  } catch {}
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
    incarnation: 1,
    memoryLimitBytes: withEngine.memoryCapBytes,
    criticalAtBytes: withEngine.memoryCapBytes,
    criticalClearBytes: withEngine.memoryCapBytes,
    hostFunctions: [],
    seed: new Uint8Array(16)
  }
  const vm = await pristineVm(withEngine)
  pristine = vm.memory
  const image = Uint8Array.from(await blankOf(withEngine))
  // V8 makes both VMs before the next message is read. Should it ever not, the thread may have been taken meanwhile.
  if (words !== undefined) return
  const nobody = new MessageChannel()
  listener = nobody.port1
  try {
    for (let round = 0; round < REHEARSALS; round += 1) {
      spare = vm
      await open({ kind: 'restore', engine: undefined, spec, wallAt: 0, image })
      handle({ kind: 'run', code: '1', wallAt: 0, cpuMs: undefined })
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
    if (endedMeanwhile !== undefined) throw new Error('its evaluation ran out of memory over an answer')
    const image = guest.capture(before)
    post({ kind: 'captured', image, chance: guest.chance() }, [image.buffer])
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
    case 'restore':
      return void open(message)
    case 'run':
      return inVm((vm) => {
        start(vm, message)
        const ended = vm.begin(message.code)
        if (ended === undefined) return pump(vm)
        if (ended.outcome === 'completed' || ended.outcome === 'failed') tieLooseEnds(vm)
        end(ended)
      })
    case 'proceed':
      return inVm((vm) => {
        start(vm, message)
        if (endedMeanwhile === undefined) return pump(vm)
        end(endedMeanwhile)
        endedMeanwhile = undefined
      })
    case 'answer':
      // One that was asked to stop takes its answers in: it may proceed right here. One that stopped near its limit has
      // no room for them, and keeps its calls in the ledger: they are issued again after the restore.
      if (!running && !paused) return
      return inVm((vm) => {
        const ended = vm.answer(message.callId, message.answer)
        if (!running) endedMeanwhile ??= ended
        else if (ended === undefined) pump(vm)
        else end(ended)
      })
    case 'wake':
      return resume()
    case 'capture':
      return void capture()
    case 'tell':
      return inVm((vm) => {
        vm.tell(message.noticeJson)
        if (running) {
          vm.deliver()
          pump(vm)
        }
      })
    case 'clear':
      return clear()
  }
}

host.on('message', handle)
