import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isSuiteError } from '@enablement/core'
import type { ConformanceKit } from '@enablement/core/testing'
import type {
  ConsoleLine,
  GuestNotice,
  HostCall,
  HostCapabilities,
  HostSandbox,
  RestoredSandbox,
  RunEnd,
  SandboxHost,
  SandboxSpec
} from '../sandbox/sandbox-host.ts'

/** A fresh host under examination. */
export interface SandboxHostSubject extends AsyncDisposable {
  readonly host: SandboxHost
  /** A limit under which small programs run and a bomb ends soon: 16 MiB for an embedded engine, more for processes. */
  readonly memoryLimitBytes: number
}

/** Makes a subject. */
export type CreateSandboxHost = () => Promise<SandboxHostSubject>

/** What not every host can do. Each follows from `HostCapabilities`; see `sandboxHostSupports`. */
export type SandboxHostNeed =
  | 'checkpoint'
  | 'memory-checkpoint'
  | 'cooperative-checkpoint'
  | 'workspace'
  | 'memory-limit'
  | 'resize-live'
  | 'resize-restore'
  | 'read-only'

/** The exam's manifest of a host, from what the host says that it can do: a host that claims more is examined in more. */
export function sandboxHostSupports(capabilities: HostCapabilities): Readonly<Record<SandboxHostNeed, boolean>> {
  const { checkpoint, memoryLimit, resizeMemory, readOnly } = capabilities
  return {
    checkpoint: checkpoint !== 'none',
    'memory-checkpoint': checkpoint === 'memory',
    'cooperative-checkpoint': checkpoint === 'cooperative',
    workspace: checkpoint === 'cooperative' || checkpoint === 'workspace',
    'memory-limit': memoryLimit !== 'none',
    'resize-live': resizeMemory === 'live',
    'resize-restore': resizeMemory === 'restore' && checkpoint === 'memory',
    'read-only': readOnly !== 'none'
  }
}

/** What one sandbox told, in order, and somebody who waits for it. */
interface Heard {
  readonly calls: readonly HostCall[]
  readonly lines: readonly ConsoleLine[]
  /** Resolves with the call once so many were made, counted from 1. */
  call(count: number): Promise<HostCall>
  /** Resolves once a line of this text was written. */
  line(text: string): Promise<void>
}

interface Opened extends Heard {
  readonly sandbox: HostSandbox
}

interface Exam extends SandboxHostSubject {
  spec(fields?: Partial<SandboxSpec>): SandboxSpec
  open(fields?: Partial<SandboxSpec>): Promise<Opened>
  restore(
    image: Uint8Array<ArrayBuffer>,
    fields?: Partial<SandboxSpec>
  ): Promise<Opened & Omit<RestoredSandbox, 'sandbox'>>
}

function exam(body: (exam: Exam) => Promise<void>): (create: CreateSandboxHost) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { host, memoryLimitBytes } = subject
    let opened = 0
    const spec = (fields: Partial<SandboxSpec> = {}): SandboxSpec => {
      opened += 1
      const limit = fields.memoryLimitBytes ?? memoryLimitBytes
      return {
        sandboxId: `sandbox-${opened}`,
        incarnation: 1,
        memoryLimitBytes: limit,
        criticalAtBytes: Math.floor(limit * 0.9),
        criticalClearBytes: Math.floor(limit * 0.8),
        hostFunctions: ['echo', 'later'],
        seed: new Uint8Array(16).fill(opened),
        now: () => NOW,
        ...fields
      }
    }
    await body({
      host,
      memoryLimitBytes,
      spec,
      async open(fields) {
        const { hooks, heard } = listening()
        return { ...heard, sandbox: await host.create(spec(fields), hooks) }
      },
      async restore(image, fields) {
        const { hooks, heard } = listening()
        return { ...heard, ...(await host.restore(image, spec(fields), hooks)) }
      },
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

/** 2026-01-01T00:00:00Z. */
const NOW = Date.UTC(2026, 0, 1)

function listening(): { readonly hooks: Parameters<SandboxHost['create']>[1]; readonly heard: Heard } {
  const calls: HostCall[] = []
  const lines: ConsoleLine[] = []
  const waiting = new Set<() => void>()
  const heardOf = (): void => {
    for (const look of waiting) look()
  }
  const until = <T>(found: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const look = (): void => {
        const value = found()
        if (value === undefined) return
        waiting.delete(look)
        resolve(value)
      }
      waiting.add(look)
      look()
    })
  return {
    hooks: {
      onCall(call) {
        calls.push(call)
        heardOf()
      },
      onConsole(line) {
        lines.push(line)
        heardOf()
      },
      onPressure: () => undefined
    },
    heard: {
      calls,
      lines,
      call: (count) => until(() => calls[count - 1]),
      async line(text) {
        await until(() => lines.find((line) => line.text === text))
      }
    }
  }
}

const completed = (json: string | undefined): RunEnd => ({ outcome: 'completed', json })

const failing = async (
  sandbox: HostSandbox,
  code: string
): Promise<{ readonly name: string; readonly message: string }> => {
  const end = await sandbox.run(code)
  assert.equal(end.outcome, 'failed', `${code.slice(0, 80)} ended as ${JSON.stringify(end).slice(0, 200)}`)
  return (end as RunEnd & { outcome: 'failed' }).error
}

const code =
  (...expected: readonly string[]) =>
  (error: unknown): true => {
    assert.ok(isSuiteError(error), `${String(error)} has no code`)
    assert.ok(expected.includes(error.code), `${error.code} is not ${expected.join(' or ')}`)
    return true
  }

const outOfMemory = (end: RunEnd): boolean =>
  end.outcome === 'exhausted' ||
  (end.outcome === 'suspended' && end.on === 'pressure') ||
  (end.outcome === 'gone' && end.outOfMemory === true)

const DEGRADED: GuestNotice = { type: 'degraded', reason: 'network_partition', capabilities: ['egress'] }
const RECOVERED: GuestNotice = { type: 'recovered', reason: 'network_partition', capabilities: ['egress'] }

/** Stops a guest at its next job boundary, as only hosts whose checkpoints hold memory can. */
const suspended = async (sandbox: HostSandbox, running: Promise<RunEnd>): Promise<void> => {
  assert.ok(sandbox.suspend !== undefined, 'a host of memory checkpoints stops guests on wish')
  sandbox.suspend(true)
  assert.deepEqual(await running, { outcome: 'suspended', on: 'wish' })
}

/**
 * The exam of a `SandboxHost`. Guests find the same in every host: `console`, `host.<name>(argument)`, `safepoint()`,
 * `onNotice(listener)`, and where checkpoints are cooperative `onCheckpoint(save)` and `onRestore(load)`.
 */
export const sandboxHostConformance: ConformanceKit<CreateSandboxHost, SandboxHostNeed> = {
  name: 'SandboxHost',
  needs: [
    'checkpoint',
    'memory-checkpoint',
    'cooperative-checkpoint',
    'workspace',
    'memory-limit',
    'resize-live',
    'resize-restore',
    'read-only'
  ],
  cases: [
    {
      name: 'an evaluation gives the value of its last expression, awaited, as JSON',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        assert.deepEqual(await sandbox.run('1 + 1'), completed('2'))
        assert.deepEqual(
          await sandbox.run('await 0; const x = await Promise.resolve(3); ({ x, s: "ü\\u0000" })'),
          completed('{"x":3,"s":"ü\\u0000"}')
        )
        assert.deepEqual(await sandbox.run('undefined'), completed(undefined))
        assert.deepEqual(await sandbox.run('(async () => [1, null])()'), completed('[1,null]'))
        assert.deepEqual(await sandbox.run('await safepoint(); 5'), completed('5'))
      })
    },
    {
      name: 'declarations are there for the next evaluation',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('let n = 1; const add = (m) => (n += m); function twice() { return n * 2 }')
        await sandbox.run('await 0; var later = add(4)')
        assert.deepEqual(await sandbox.run('[later, n, twice()]'), completed('[5,5,10]'))
      })
    },
    {
      name: "a guest's error is told by name and message, cut to its bound, and the sandbox can be used on",
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        const error = await failing(
          sandbox,
          'globalThis.before = 1; await 0; throw new RangeError("no" + "x".repeat(1e5))'
        )
        assert.equal(error.name, 'RangeError')
        assert.match(error.message, /^nox{10}/)
        assert.ok(error.message.length <= 10_000, `${error.message.length} characters came over`)
        await failing(sandbox, 'let let let')
        await failing(sandbox, 'throw null')
        await failing(sandbox, 'throw { get name() { throw 1 }, get message() { throw 2 } }')
        assert.deepEqual(await sandbox.run('before'), completed('1'))
      })
    },
    {
      name: 'a result that JSON has no form for, or that is over its bound, is a failure of the evaluation',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await failing(sandbox, 'const c = {}; c.c = c; c')
        await failing(sandbox, '10n')
        await failing(sandbox, '"x".repeat(5_000_000)')
        assert.deepEqual(await sandbox.run('7'), completed('7'))
      })
    },
    {
      name: 'console lines are passed on by level, cut and counted',
      run: exam(async ({ open }) => {
        const { sandbox, lines, line } = await open()
        await sandbox.run(
          'console.debug("d"); console.log("l", 1); console.info({ a: 1 }); console.warn("w"); console.error("e")'
        )
        await line('e')
        assert.deepEqual(lines.slice(0, 2), [
          { level: 'debug', text: 'd' },
          { level: 'info', text: 'l 1' }
        ])
        assert.deepEqual(
          lines.map(({ level }) => level),
          ['debug', 'info', 'info', 'warn', 'error']
        )
        const before = lines.length
        await sandbox.run('for (let i = 0; i < 5_000; i++) console.log("y".repeat(10_000))')
        // A run that has ended may still have lines on their way; another one comes after them.
        await sandbox.run('console.log("last")')
        await line('last')
        assert.ok(lines.length - before <= 2_000, `${lines.length - before} lines came over`)
        assert.ok(Math.max(...lines.map(({ text }) => text.length)) <= 10_000)
      })
    },
    {
      name: 'a host call carries JSON both ways, under a key of its own',
      run: exam(async ({ open }) => {
        const { sandbox, call, calls } = await open()
        const running = sandbox.run(
          'const [a, b] = await Promise.all([host.echo({ n: 1 }), host.later()]); [a, b === undefined]'
        )
        const [first, second] = [await call(1), await call(2)]
        assert.deepEqual([first.name, first.argumentJson], ['echo', '{"n":1}'])
        assert.deepEqual([second.name, second.argumentJson], ['later', undefined])
        sandbox.answer(second.callId, { outcome: 'fulfilled', json: undefined })
        sandbox.answer(first.callId, { outcome: 'fulfilled', json: '{"deep":[1]}' })
        assert.deepEqual(await running, completed('[{"deep":[1]},true]'))
        const rejected = sandbox.run('host.echo().catch((error) => [error instanceof Error, error.message])')
        sandbox.answer((await call(3)).callId, { outcome: 'rejected', message: 'out of stock' })
        assert.deepEqual(await rejected, completed('[true,"out of stock"]'))
        assert.equal(new Set(calls.map(({ idempotencyKey }) => idempotencyKey)).size, 3)
      })
    },
    {
      name: 'keys of host calls differ between sandboxes and between incarnations of one',
      run: exam(async ({ host, open }) => {
        const keys = new Set<string>()
        for (const [sandboxId, incarnation] of [
          ['a', 1],
          ['a', 2],
          ['b', 1]
        ] as const) {
          const { sandbox, call } = await open({ sandboxId, incarnation })
          const running = sandbox.run('host.echo(1)')
          const { callId, idempotencyKey } = await call(1)
          keys.add(idempotencyKey)
          sandbox.answer(callId, { outcome: 'fulfilled', json: '1' })
          await running
          await sandbox.close()
        }
        assert.equal(keys.size, 3, `${host.kind} gave one key to two calls`)
      })
    },
    {
      name: 'a guest finds the host functions that it was given, and no others',
      run: exam(async ({ open }) => {
        const { sandbox, calls } = await open({ hostFunctions: ['echo'] })
        assert.deepEqual(
          await sandbox.run('[typeof host.echo, typeof host.later, typeof host.constructor]'),
          completed('["function","undefined","undefined"]')
        )
        await failing(sandbox, 'host.later(1)')
        assert.equal(calls.length, 0)
      })
    },
    {
      name: 'a flood of host calls is bounded, and the sandbox can be used on',
      run: exam(async ({ open }) => {
        const { sandbox, calls } = await open()
        const end = await sandbox.run(
          'let refused = 0; for (let i = 0; i < 2_000; i++) host.later(i).catch(() => { refused += 1 }); for (let i = 0; i < 10; i++) await 0; refused'
        )
        assert.equal(end.outcome, 'completed')
        assert.ok(calls.length <= 1_024, `${calls.length} calls are in flight`)
        assert.equal(calls.length + Number((end as RunEnd & { outcome: 'completed' }).json), 2_000)
        assert.deepEqual(await sandbox.run('7'), completed('7'))
      })
    },
    {
      name: 'an answer to a call whose evaluation is over changes nothing',
      run: exam(async ({ open }) => {
        const { sandbox, call } = await open()
        await sandbox.run('globalThis.got = 0; host.later().then(() => { got += 1 }); 1')
        const { callId } = await call(1)
        sandbox.answer(callId, { outcome: 'fulfilled', json: '1' })
        sandbox.answer(callId + 1_000, { outcome: 'fulfilled', json: '1' })
        assert.deepEqual(await sandbox.run('await safepoint(); await safepoint(); got'), completed('0'))
      })
    },
    {
      name: 'an interrupt ends a guest that loops, and one that waits',
      run: exam(async ({ open }) => {
        for (const waiting of [
          'for (;;);',
          'for (;;) { try { for (;;); } catch {} finally { continue } }',
          'await host.later()'
        ]) {
          const { sandbox, line } = await open()
          const running = sandbox.run(`globalThis.kept = 1; console.log('begins'); ${waiting}`)
          await line('begins')
          sandbox.interrupt()
          const end = await running
          assert.ok(end.outcome === 'interrupted' || end.outcome === 'gone', `${waiting} ended as ${end.outcome}`)
          if (end.outcome === 'interrupted') assert.deepEqual(await sandbox.run('kept'), completed('1'))
          else assert.equal(sandbox.isAlive(), false)
        }
      })
    },
    {
      name: 'an interrupt while nothing runs does nothing',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        sandbox.interrupt()
        assert.deepEqual(await sandbox.run('1'), completed('1'))
        sandbox.interrupt()
        assert.deepEqual(await sandbox.run('2'), completed('2'))
      })
    },
    {
      name: 'a killed sandbox ends its run as gone, and is not alive',
      run: exam(async ({ open }) => {
        const { sandbox, line } = await open()
        assert.equal(sandbox.isAlive(), true)
        const running = sandbox.run('console.log("begins"); for (;;);')
        await line('begins')
        await sandbox.kill()
        const end = await running
        assert.equal(end.outcome, 'gone')
        assert.ok(!('outOfMemory' in end), 'it was killed')
        assert.equal(sandbox.isAlive(), false)
        await sandbox.kill()
        await sandbox.close()
        assert.equal((await sandbox.run('1')).outcome, 'gone')
      })
    },
    {
      name: 'a closed sandbox is not alive, and closing it again does nothing',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('1')
        await sandbox.close()
        assert.equal(sandbox.isAlive(), false)
        await sandbox.close()
        await sandbox.kill()
        assert.equal((await sandbox.run('1')).outcome, 'gone')
        sandbox.interrupt()
        sandbox.tell(DEGRADED)
        sandbox.answer(1, { outcome: 'fulfilled', json: '1' })
      })
    },
    {
      name: 'two sandboxes see nothing of each other, one after the other and at a time',
      run: exam(async ({ open }) => {
        const [one, two] = [await open(), await open()]
        await one.sandbox.run(
          'globalThis.secret = 1; Object.prototype.secret = 1; Array.prototype.push = () => { throw 1 }'
        )
        const look = '[typeof globalThis.secret, typeof ({}).secret, [].push(1)]'
        const clean = completed('["undefined","undefined",1]')
        assert.deepEqual(await two.sandbox.run(look), clean)
        await one.sandbox.close()
        const three = await open()
        assert.deepEqual(await three.sandbox.run(look), clean)
      })
    },
    {
      name: 'closing the host ends every sandbox, and it opens none afterwards',
      run: exam(async ({ host, open }) => {
        const { sandbox, line } = await open()
        const running = sandbox.run('console.log("begins"); for (;;);')
        await line('begins')
        await host.close()
        assert.equal((await running).outcome, 'gone')
        assert.equal(sandbox.isAlive(), false)
        await assert.rejects(open(), code('CLOSED'))
        await host.close()
      })
    },
    {
      name: 'the engine is told by the same words every time',
      run: exam(async ({ host }) => {
        const engine = await host.engine()
        assert.ok(engine.length > 0 && engine.length <= 200)
        assert.equal(await host.engine(), engine)
      })
    },
    {
      name: 'an unknown field of a spec is refused, and nothing is opened',
      run: exam(async ({ host, spec }) => {
        const { hooks } = listening()
        await assert.rejects(host.create({ ...spec(), memoryLimit: 1 } as SandboxSpec, hooks), code('INVALID_OPTIONS'))
      })
    },
    {
      name: 'a newer incarnation ends the older one, and an older one is refused',
      run: exam(async ({ open }) => {
        const old = await open({ sandboxId: 'fenced', incarnation: 3 })
        const running = old.sandbox.run('console.log("begins"); await host.later(); console.log("still here")')
        await old.line('begins')
        await assert.rejects(open({ sandboxId: 'fenced', incarnation: 2 }), code('SANDBOX_NOT_STARTED'))
        await assert.rejects(open({ sandboxId: 'fenced', incarnation: 3 }), code('SANDBOX_NOT_STARTED'))
        const { callId } = await old.call(1)
        const fresh = await open({ sandboxId: 'fenced', incarnation: 4 })
        assert.equal((await running).outcome, 'gone')
        assert.equal(old.sandbox.isAlive(), false)
        old.sandbox.answer(callId, { outcome: 'fulfilled', json: '1' })
        assert.equal((await old.sandbox.run('1')).outcome, 'gone')
        assert.deepEqual(await fresh.sandbox.run('1'), completed('1'))
        assert.deepEqual(
          old.lines.map(({ text }) => text),
          ['begins']
        )
      })
    },
    {
      name: 'a notice reaches every listener, and one that throws is the guest’s own affair',
      run: exam(async ({ open }) => {
        const { sandbox, line, call } = await open()
        await sandbox.run(
          'globalThis.seen = []; onNotice(() => { throw new Error("mine") }); onNotice((notice) => { seen.push(notice) })'
        )
        const running = sandbox.run('console.log("begins"); await host.later(); seen')
        await line('begins')
        sandbox.tell(DEGRADED)
        sandbox.answer((await call(1)).callId, { outcome: 'fulfilled', json: '1' })
        assert.deepEqual(await running, completed(JSON.stringify([DEGRADED])))
        sandbox.tell(RECOVERED)
        assert.deepEqual(await sandbox.run('await safepoint(); seen.length'), completed('2'))
      })
    },
    {
      name: 'of notices that wait while nothing runs, the last 16 are kept',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.seen = []; onNotice(({ type }) => { seen.push(type) })')
        sandbox.tell(RECOVERED)
        for (let told = 0; told < 16; told += 1) sandbox.tell(DEGRADED)
        const end = await sandbox.run('await safepoint(); seen')
        assert.deepEqual(end, completed(JSON.stringify(Array.from({ length: 16 }, () => 'degraded'))))
      })
    },
    {
      name: 'memory is told while the guest runs and after',
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.held = Array.from({ length: 10_000 }, (_, n) => ({ n })); held.length')
        const { usedBytes, peakBytes, residentBytes } = sandbox.usage()
        assert.ok(usedBytes > 0 && peakBytes >= usedBytes && residentBytes > 0, JSON.stringify(sandbox.usage()))
      })
    },
    {
      name: 'a guest that fills its memory is told as out of memory, and the host and its other sandboxes live',
      needs: ['memory-limit'],
      run: exam(async ({ open }) => {
        const other = await open()
        await other.sandbox.run('globalThis.mine = 1')
        for (const bomb of [
          'globalThis.held = []; for (;;) held.push(new Array(1_000).fill(held.length))',
          'globalThis.held = []; for (;;) { held.push({ at: "x".repeat(100) + held.length }); if (held.length % 1_000 === 0) await safepoint() }'
        ]) {
          const { sandbox } = await open()
          const end = await sandbox.run(bomb)
          assert.ok(outOfMemory(end), `it ended as ${JSON.stringify(end).slice(0, 300)}`)
          await sandbox.kill()
        }
        assert.deepEqual(await other.sandbox.run('mine'), completed('1'))
      })
    },
    {
      name: 'a limit that is raised holds for a guest that runs on',
      needs: ['resize-live'],
      run: exam(async ({ open, memoryLimitBytes }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.held = []')
        await sandbox.resizeMemory?.(memoryLimitBytes * 2)
        const wanted = Math.floor(memoryLimitBytes * 1.25)
        const end = await sandbox.run(
          `for (let bytes = 0; bytes < ${wanted}; bytes += 1_000_000) held.push(new Uint8Array(1_000_000).fill(1)); held.length`
        )
        assert.equal(end.outcome, 'completed')
      })
    },
    {
      name: 'a guest out of memory goes on where it stopped, restored under a larger limit',
      needs: ['resize-restore'],
      run: exam(async ({ open, restore, memoryLimitBytes }) => {
        const { sandbox } = await open()
        const end = await sandbox.run(
          'let n = 0; const held = []; while (n < 40) { held.push("x".repeat(1_000).split("").map((c, at) => c + at + n)); n += 1; await safepoint() } [n, held.length]'.replace(
            '40',
            String(Math.ceil(memoryLimitBytes / 50_000))
          )
        )
        assert.deepEqual(end, { outcome: 'suspended', on: 'pressure' })
        const image = await sandbox.capture()
        await sandbox.close()
        const limit = memoryLimitBytes * 4
        const again = await restore(image, {
          memoryLimitBytes: limit,
          criticalAtBytes: limit,
          criticalClearBytes: limit
        })
        assert.equal(again.evaluation, 'suspended')
        const count = Math.ceil(memoryLimitBytes / 50_000)
        assert.deepEqual(await again.sandbox.proceed(), completed(`[${count},${count}]`))
      })
    },
    {
      name: 'a running sandbox is not captured',
      needs: ['checkpoint'],
      run: exam(async ({ open }) => {
        const { sandbox, line } = await open()
        const running = sandbox.run('console.log("begins"); await host.later()')
        await line('begins')
        await assert.rejects(sandbox.capture(), code('CHECKPOINT_REFUSED'))
        sandbox.interrupt()
        await running
      })
    },
    {
      name: 'a sandbox that has gone is not captured',
      needs: ['checkpoint'],
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.close()
        await assert.rejects(sandbox.capture(), code('CHECKPOINT_REFUSED'))
      })
    },
    {
      name: 'a capture leaves the sandbox as it is, and may be restored any number of times',
      needs: ['checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.n = 1')
        const image = await sandbox.capture()
        const before = Buffer.from(image).toString('hex')
        assert.deepEqual(await sandbox.run('n += 1'), completed('2'))
        for (let time = 0; time < 2; time += 1) {
          const again = await restore(image)
          assert.equal(again.evaluation, 'none')
          assert.deepEqual(again.calls, [])
          assert.deepEqual(await again.sandbox.run('1 + 1'), completed('2'))
          await again.sandbox.close()
        }
        assert.equal(Buffer.from(image).toString('hex'), before, 'the image still belongs to its owner')
      })
    },
    {
      name: 'what is no image of this host is refused, and nothing stays behind',
      needs: ['checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        const image = await sandbox.capture()
        const refused = code('CHECKPOINT_CORRUPT', 'CHECKPOINT_FOREIGN', 'CHECKPOINT_TOO_LARGE')
        const begun = Uint8Array.from(image)
        begun[0] = (begun[0] ?? 0) ^ 1
        const alien = new TextEncoder().encode('{"checkpoint":"of another host"}')
        for (const wrong of [
          new Uint8Array(0),
          new Uint8Array(64),
          image.slice(0, 40),
          image.slice(0, -1),
          begun,
          alien
        ]) {
          await assert.rejects(restore(Uint8Array.from(wrong)), refused)
        }
        assert.deepEqual(await sandbox.run('1'), completed('1'))
      })
    },
    {
      name: 'memory: an image brings back globals, closures, generators, private fields, and pending promises',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        await sandbox.run(`
          let n = 1; const add = ((by) => (m) => (n += m * by))(2)
          const steps = (function* () { yield 1; yield 2; yield 3 })(); steps.next()
          class Account { #cents = 5; add(m) { return (this.#cents += m) } }
          const account = new Account(), seen = new WeakMap([[account, 'seen']])
          const word = /b/g; word.test('abab')
          let settle; const pending = new Promise((resolve) => { settle = resolve })
        `)
        const { sandbox: again } = await restore(await sandbox.capture())
        const end = await again.run(
          'settle(9); [add(3), steps.next().value, account.add(1), seen.get(account), word.lastIndex, await pending]'
        )
        assert.deepEqual(end, completed('[7,2,6,"seen",2,9]'))
      })
    },
    {
      name: 'memory: a suspended evaluation goes on in another sandbox, and its calls are issued again under their keys',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox, call } = await open()
        const running = sandbox.run('let n = 1; const got = await host.later({ n }); n += 1; [n, got]')
        const first = await call(1)
        await suspended(sandbox, running)
        const image = await sandbox.capture()
        await sandbox.close()
        const again = await restore(image, { incarnation: 2 })
        assert.equal(again.evaluation, 'suspended')
        assert.deepEqual(again.calls, [first])
        const proceeding = again.sandbox.proceed()
        again.sandbox.answer(first.callId, { outcome: 'fulfilled', json: '"late"' })
        assert.deepEqual(await proceeding, completed('[2,"late"]'))
      })
    },
    {
      name: 'memory: a suspended evaluation takes in the answers that come, and proceeds in place',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox, call } = await open()
        const running = sandbox.run('const got = await host.later(); [got, await host.echo(got)]')
        const first = await call(1)
        await suspended(sandbox, running)
        const image = await sandbox.capture()
        sandbox.answer(first.callId, { outcome: 'fulfilled', json: '1' })
        const proceeding = sandbox.proceed()
        sandbox.answer((await call(2)).callId, { outcome: 'fulfilled', json: '2' })
        assert.deepEqual(await proceeding, completed('[1,2]'))
        // The image was taken before the answer: a twin of it waits for its own.
        const twin = await restore(image)
        assert.deepEqual(twin.calls, [first])
        const twinProceeding = twin.sandbox.proceed()
        twin.sandbox.answer(first.callId, { outcome: 'fulfilled', json: '3' })
        twin.sandbox.answer((await twin.call(1)).callId, { outcome: 'fulfilled', json: '4' })
        assert.deepEqual(await twinProceeding, completed('[3,4]'))
      })
    },
    {
      name: 'memory: a wish to stop that was taken back stops nobody',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open }) => {
        const { sandbox, line } = await open()
        sandbox.suspend?.(true)
        assert.deepEqual(await sandbox.run('await 0; 1'), completed('1'))
        const running = sandbox.run('console.log("begins"); for (let i = 0; i < 1e5; i++); await 0; 2')
        await line('begins')
        sandbox.suspend?.(true)
        sandbox.suspend?.(false)
        const end = await running
        // It may have come to its boundary in between.
        if (end.outcome === 'suspended') assert.deepEqual(await sandbox.proceed(), completed('2'))
        else assert.deepEqual(end, completed('2'))
      })
    },
    {
      name: 'memory: two sandboxes of one image are independent, and draw other random numbers',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        await sandbox.run('let n = 0; Math.random(); const draw = () => Math.random()')
        const image = await sandbox.capture()
        const [one, two] = [await restore(image), await restore(image)]
        assert.deepEqual(await one.sandbox.run('n += 1'), completed('1'))
        assert.deepEqual(await two.sandbox.run('n'), completed('0'))
        const draws = await Promise.all([one, two].map((twin) => twin.sandbox.run('[draw(), draw(), draw(), draw()]')))
        assert.notDeepEqual(draws[0], draws[1])
      })
    },
    {
      name: 'memory: listeners for notices survive a checkpoint, and so do notices that were not heard yet',
      needs: ['memory-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.seen = []; onNotice(({ type }) => { seen.push(type) })')
        sandbox.tell(DEGRADED)
        const again = await restore(await sandbox.capture())
        again.sandbox.tell(RECOVERED)
        assert.deepEqual(await again.sandbox.run('await safepoint(); seen'), completed('["degraded","recovered"]'))
      })
    },
    {
      name: 'cooperative: what the guest hands over is there for the guest that is restored',
      needs: ['cooperative-checkpoint'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.n = 41; onCheckpoint(() => ({ n, list: [1, null, "ü"] }))')
        const image = await sandbox.capture()
        assert.deepEqual(await sandbox.run('n'), completed('41'))
        await sandbox.close()
        const again = await restore(image)
        assert.equal(again.evaluation, 'none')
        await again.sandbox.run('globalThis.state = undefined; onRestore((saved) => { state = saved })')
        assert.deepEqual(await again.sandbox.run('[state.n + 1, state.list]'), completed('[42,[1,null,"ü"]]'))
      })
    },
    {
      name: 'cooperative: a guest whose own handing over fails is not captured, and runs on',
      needs: ['cooperative-checkpoint'],
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('onCheckpoint(() => { throw new Error("not now") })')
        await assert.rejects(sandbox.capture(), code('CHECKPOINT_REFUSED'))
        assert.deepEqual(await sandbox.run('1'), completed('1'))
      })
    },
    {
      name: 'cooperative: nothing is handed to a guest that was not restored',
      needs: ['cooperative-checkpoint'],
      run: exam(async ({ open }) => {
        const { sandbox } = await open()
        await sandbox.run('globalThis.times = 0; onRestore(() => { times += 1 })')
        assert.deepEqual(await sandbox.run('times'), completed('0'))
      })
    },
    {
      name: 'workspace: files are there in the sandbox that is restored',
      needs: ['workspace'],
      run: exam(async ({ open, restore }) => {
        const { sandbox } = await open()
        assert.ok(sandbox.workspace !== undefined, 'a host that saves files tells where they are')
        await writeFile(path.join(sandbox.workspace, 'note.txt'), 'kept ü')
        const image = await sandbox.capture()
        await sandbox.close()
        const again = await restore(image)
        assert.equal(await readFile(path.join(again.sandbox.workspace ?? '', 'note.txt'), 'utf8'), 'kept ü')
      })
    },
    {
      name: 'a sandbox is made read-only, and writable again',
      needs: ['read-only'],
      run: exam(async ({ host, open }) => {
        const { sandbox } = await open()
        const how = await sandbox.setReadOnly?.(true)
        assert.ok(how === 'remount' || how === 'quota-freeze', `${host.kind} says ${String(how)}`)
        assert.deepEqual(await sandbox.run('1'), completed('1'))
        await sandbox.setReadOnly?.(false)
      })
    }
  ]
}
