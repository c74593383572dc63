import { mebibytes, type Sandbox } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { agent, type RuntimeKit, runtimeKit } from '../fakes/runtime-kit.ts'

/** Each piece of code, and the outcomes that are right for it. Where the only one is to be stopped, that comes soon. */
const hostile: Readonly<Record<string, readonly [code: string, outcomes: readonly string[]]>> = {
  'an array bomb': ['const a = []; for (;;) a.push(new Array(1e5).fill(1))', ['memory-exhausted']],
  'an object bomb': ['globalThis.o = []; for (;;) o.push({})', ['memory-exhausted']],
  'an array buffer bomb': ['globalThis.b = []; for (;;) b.push(new ArrayBuffer(1 << 20))', ['memory-exhausted']],
  'a typed array bomb': ['globalThis.t = []; for (;;) t.push(new Float64Array(1 << 14).fill(1))', ['memory-exhausted']],
  'a map bomb': ['const m = new Map(); for (let i = 0; ; i++) m.set(i, [i])', ['memory-exhausted']],
  'a string bomb': ["let s = 'x'; for (;;) s += s", ['failed', 'memory-exhausted']],
  'one huge string': ["'x'.repeat(2 ** 29).length", ['failed', 'memory-exhausted']],
  'a closure bomb': ['let f = () => 1; for (;;) { const g = f; f = () => g; }', ['memory-exhausted']],
  'a promise bomb': [
    'globalThis.p = []; for (;;) p.push(Promise.resolve().then(() => p.length))',
    ['memory-exhausted']
  ],
  'an awaiting bomb': ['globalThis.w = []; for (;;) { w.push(new Array(1e4).fill(1)); await 0 }', ['memory-exhausted']],
  'a job fork bomb': [
    'globalThis.q = []; const f = () => { q.push(new Array(1000)); Promise.resolve().then(f); Promise.resolve().then(f) }; f(); await new Promise(() => {})',
    ['memory-exhausted', 'failed', 'timed-out']
  ],
  'a bomb that catches its own end': [
    'try { const a = []; for (;;) a.push(new Array(1e6).fill(1)) } catch { 1 }',
    ['completed', 'memory-exhausted']
  ],
  'a bomb that catches and goes on': [
    'for (;;) { try { const a = []; for (;;) a.push(new Array(1e3).fill(1)) } catch {} }',
    ['timed-out', 'memory-exhausted']
  ],
  'a huge result': ["'x'.repeat(5e6)", ['failed']],
  'a cyclic result': ['const c = {}; c.c = c; c', ['failed']],
  'an infinite loop': ['for (;;);', ['timed-out']],
  'a loop that catches everything': ['for (;;) { try { for (;;); } catch {} finally { continue } }', ['timed-out']],
  'a loop after an await': ['await 0; for (;;);', ['timed-out']],
  'an endless chain of jobs': ['for (;;) await 0', ['timed-out']],
  'a detached chain of jobs': ['(function f() { Promise.resolve().then(f) })(); 1', ['completed']],
  'a thenable that never lets go': ['({ then(r) { r(this) } })', ['completed', 'failed', 'timed-out']],
  'an await that nothing ends': ['await new Promise(() => {})', ['failed']],
  'runaway recursion': ['(function f() { f() })()', ['failed']],
  'recursion through getters': ['const o = { get x() { return this.x } }; o.x', ['failed']],
  'recursion through proxies': [
    'let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x',
    ['failed', 'completed', 'timed-out', 'memory-exhausted']
  ],
  'recursion in JSON': [
    'let o = {}, c = o; for (let i = 0; i < 2e4; i++) { c.a = {}; c = c.a } o',
    ['failed', 'memory-exhausted']
  ],
  'recursion in toString': ['const a = []; a[0] = a; const b = { toString() { return `${b}` } }; `${b}`', ['failed']],
  'a catastrophic regex': ["/^(a+)+$/.test('a'.repeat(40) + 'b')", ['timed-out', 'completed']],
  'a deeply nested regex': ["new RegExp('('.repeat(20000) + ')'.repeat(20000))", ['failed']],
  'a giant number': ['(3n ** (1n << 18n)).toString().length', ['failed', 'completed', 'timed-out', 'memory-exhausted']],
  'a sort that never agrees': ['new Uint8Array(2e4).sort(() => 1).length', ['completed', 'timed-out']],
  'a hostile getter in the error': [
    'throw { get name() { for (;;); }, get message() { throw 1 } }',
    ['failed', 'timed-out']
  ],
  'a forged out-of-memory': ["const e = new Error('out of memory'); e.name = 'Innocent'; throw e", ['failed']],
  'a thrown null': ['throw null', ['failed']],
  'a thrown undefined': ['throw undefined', ['failed']],
  'a thrown symbol': ['throw Symbol("s")', ['failed']],
  'a syntax error': ['let let let', ['failed']],
  'a replaced JSON': ['JSON = { parse() { throw 1 }, stringify() { return 7 } }; ({ ok: 1 })', ['completed']],
  'a replaced Promise': ['Promise = class { then() { throw 1 } }; Promise.prototype.then = 1; await 5', ['completed']],
  'a poisoned Promise.prototype': [
    'Object.getPrototypeOf((async () => {})()).then = () => { throw 1 }; (async () => 6)()',
    ['completed']
  ],
  'a poisoned Object.prototype': [
    'Object.prototype.toJSON = () => { throw 1 }; Object.prototype.then = 1; ({ a: 1 })',
    ['failed']
  ],
  'a poisoned Array.prototype': [
    'Array.prototype.toJSON = () => { for (;;); }; Array.prototype.push = null; 1',
    ['completed']
  ],
  'a search for host objects': [
    "[typeof process, typeof require, typeof std, typeof os, typeof fetch, typeof WebAssembly, typeof SharedArrayBuffer === 'function' && 'sab'].join()",
    ['completed']
  ],
  'a way out through constructors': ["(() => {}).constructor.constructor('return typeof process')()", ['completed']],
  'an import': ["await import('node:fs')", ['failed']],
  'a console flood': ['for (let i = 0; i < 2e3; i++) console.log("x".repeat(3e3))', ['completed']],
  'a call flood': [
    'const all = []; for (let i = 0; i < 1e3; i++) all.push(host.echo(i).catch(String)); (await Promise.all(all)).length',
    ['completed']
  ],
  'a call to nothing': ['await host.nothing()', ['failed']],
  'a call with a huge argument': ["await host.echo('x'.repeat(2e6))", ['failed']],
  'prototype names as calls': ['typeof host.constructor + typeof host.toString + typeof host.__proto__', ['completed']],
  'a wait on shared memory': [
    "typeof Atomics === 'undefined' ? 1 : Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0)",
    ['completed', 'failed']
  ],
  'a species that lies': [
    'class Liar extends Array { static get [Symbol.species]() { for (;;); } } new Liar(1, 2, 3).map((x) => x)',
    ['timed-out']
  ],
  'a comparator that changes what it sorts': [
    'const a = Array.from({ length: 5000 }, (_, n) => n); a.sort((x, y) => { a.length = 0; a.push(x); return y - x }); 1',
    ['completed', 'failed']
  ],
  'a JSON bomb': ["JSON.parse('['.repeat(1e5) + ']'.repeat(1e5))", ['failed', 'memory-exhausted']],
  'generators in generators': ['function* f(n) { yield* f(n + 1) } [...f(0)]', ['failed', 'memory-exhausted']],
  'async recursion': ['const f = async () => { await f() }; await f()', ['failed', 'memory-exhausted']],
  'a date out of all bounds': [
    'String(new Date(8.64e15 + 1)) + new Date(-1e300).getTime() + Date.UTC(275760, 8, 13, 0, 0, 0, 1)',
    ['completed']
  ],
  'a proxy for the result': [
    'new Proxy({}, { get() { for (;;); }, ownKeys() { for (;;); } })',
    ['timed-out', 'failed', 'completed']
  ],
  'a toJSON that never ends': ['({ toJSON() { for (;;); } })', ['timed-out']],
  'code that makes code': [
    "let code = '1'; for (let i = 0; i < 200; i++) code = `eval(${JSON.stringify(code)})`; code.length > 2 ** 20 ? 1 : eval(code)",
    ['completed', 'failed', 'memory-exhausted']
  ],
  'a label in a finally': ['out: for (;;) { try { for (;;); } finally { continue out } }', ['timed-out']],
  'listeners that never end': ['onNotice(() => { for (;;); }); Reflect.ownKeys(onNotice).length; 1', ['completed']],
  'a finalizer storm': [
    'const r = new FinalizationRegistry(() => { for (;;); }); for (let i = 0; i < 100; i++) r.register({}, i); 1',
    ['completed', 'timed-out']
  ]
}

/** Each is tried on the sources; of the built output a fifth will do. */
const guests = Object.entries(hostile).filter((_, at) => at % Math.ceil(1 / inject('scale')) === 0)

/** A thousand under SOAK=1. One thread serves them one after the other, so that what one leaves behind the next would meet. */
const runs = inject('scale') > 1 ? 10 * inject('scale') : 1

describe('a hostile guest', () => {
  let kit: RuntimeKit
  let neighbour: Sandbox
  beforeAll(async () => {
    kit = runtimeKit({
      host: quickjsHost({ idleThreads: 1, threadsMax: 2 }),
      hostFunctions: { echo: async (argument) => argument }
    })
    neighbour = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(4) })
    await neighbour.evaluate('let mine = 1; const plain = JSON.stringify(Object.getOwnPropertyNames(globalThis))')
  })
  afterAll(() => kit[Symbol.asyncDispose]())

  it.each(guests)(
    'with %s gets a typed answer, and the host lives',
    async (_name, [code, outcomes]) => {
      for (let run = 0; run < runs; run += 1) await attempt(code, outcomes)
      expect(
        await neighbour.evaluate('plain === JSON.stringify(Object.getOwnPropertyNames(globalThis)) && mine')
      ).toEqual({
        outcome: 'completed',
        value: 1
      })
    },
    1_200_000
  )

  const attempt = async (code: string, outcomes: readonly string[]): Promise<void> => {
    const sandbox = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(16) })
    const outcome = await sandbox.evaluate(code, { timeoutMs: outcomes[0] === 'timed-out' ? 40 : 150 })
    // A busy machine may be slower than the bound, whatever the guest does.
    expect([...outcomes, 'timed-out']).toContain(outcome.outcome)
    if (outcome.outcome === 'memory-exhausted') {
      await expect(sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
    } else {
      expect(await sandbox.evaluate('20 + 22')).toEqual({ outcome: 'completed', value: 42 })
      expect((await sandbox.checkpoint()).length).toBeGreaterThan(1_000)
    }
    await sandbox.close()
  }

  it('sees nothing of the host', async () => {
    const sandbox = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(4) })
    const seen = await sandbox.evaluate(
      'Object.getOwnPropertyNames(globalThis).filter((n) => /^__|host|process/.test(n))'
    )
    expect(seen).toEqual({ outcome: 'completed', value: ['host'] })
    await sandbox.close()
  })

  it('cannot leak into the next sandbox', async () => {
    const one = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(4) })
    await one.evaluate('globalThis.secret = 1; Object.prototype.secret = 1')
    const two = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(4) })
    expect(await two.evaluate('typeof globalThis.secret + typeof ({}).secret')).toEqual({
      outcome: 'completed',
      value: 'undefinedundefined'
    })
    await Promise.all([one.close(), two.close()])
  })
})
