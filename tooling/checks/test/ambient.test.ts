import { describe, expect, it } from 'vitest'
import { type Allowance, checkAmbient } from '../src/ambient.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const found = (text: string, file = 'packages/core/src/a.ts', allowed: Allowance[] = []): string[] => {
  const files: Files = { 'packages/core/package.json': manifest('@enablement/core'), [file]: text }
  using here = tree(files)
  return checkAmbient(here.root, allowed).faults.map((one) => `${one.line ?? ''} ${one.message.split(':')[0]}`)
}

describe('ambient gate', () => {
  it.each([
    ['Date.now()', '1 Date.now'],
    ['const now = Date.now', '1 Date.now'],
    ["Date['now']()", '1 Date.now'],
    ['globalThis.Date.now()', '1 Date.now'],
    ["globalThis['Date'].now()", '1 Date.now'],
    ['(globalThis as any).Date.now()', '1 Date.now'],
    ['\n\nnew Date()', '3 new Date()'],
    ['new Date', '1 new Date()'],
    ['new globalThis.Date()', '1 new Date()'],
    ['Date()', '1 Date()'],
    ['const { now } = Date', '1 Date.now'],
    ['const { now: wall } = globalThis.Date', '1 Date.now'],
    ['const { Date: D } = globalThis', '1 Date'],
    ['const D = Date', '1 Date under another name'],
    ['const g = globalThis', '1 globalThis under another name'],
    ['const { ...all } = Math', '1 Math under another name'],
    ['Math.random()', '1 Math.random'],
    ['const { random } = Math', '1 Math.random'],
    ['setTimeout(() => {}, 1)', '1 setTimeout'],
    ['const start = setInterval', '1 setInterval'],
    ['const later = { setTimeout }', '1 setTimeout'],
    ['globalThis.setTimeout(() => {}, 1)', '1 setTimeout'],
    ['const { setTimeout: later } = globalThis', '1 setTimeout'],
    ['performance.now()', '1 performance.now'],
    ['crypto.getRandomValues(x)', '1 crypto.getRandomValues'],
    ['crypto?.randomUUID()', '1 crypto.randomUUID'],
    ['process.hrtime.bigint()', '1 process.hrtime'],
    ['AbortSignal.timeout(5)', '1 AbortSignal.timeout'],
    ["import { setTimeout as later } from 'node:timers/promises'", '1 node:timers/promises setTimeout'],
    ["import { randomUUID } from 'node:crypto'", '1 node:crypto randomUUID'],
    ["import { randomBytes } from 'crypto'", '1 crypto randomBytes'],
    ["import nodeCrypto from 'node:crypto'\nnodeCrypto.randomBytes(3)", '2 node:crypto.randomBytes'],
    ["import * as nodeCrypto from 'node:crypto'\nconst { randomInt } = nodeCrypto", '2 node:crypto.randomInt'],
    ["import { performance as p } from 'node:perf_hooks'", '1 node:perf_hooks performance'],
    ["import { randomBytes } from '@noble/hashes/utils.js'", '1 @noble/hashes/utils.js randomBytes']
  ])('finds %s', (text, fault) => {
    const name = fault.slice(fault.indexOf(' ') + 1).split(':')[0]
    expect(found(text)).toEqual([`${fault.split(' ')[0]} ${name}`])
  })

  it.each([
    'new Date(5)',
    'z.instanceof(AbortSignal)',
    'AbortSignal.any([a, b])',
    'x instanceof Date',
    'Date.UTC(2020, 1)',
    'Date.parse(text)',
    'let at: Date',
    'type Timer = ReturnType<typeof setTimeout>',
    'Math.floor(1.5)',
    'clearTimeout(timer)',
    'const take = (performance: { now(): number }) => performance.now()',
    'function f(crypto: Provider) { return crypto.randomUUID() }',
    "import { clock as Date } from './clock.ts'\nDate.now()",
    'platform.clock.setTimeout(() => {}, 1)',
    'const wheel = { setTimeout: 1, now: 2 }\nwheel.setTimeout',
    "import { createHash } from 'node:crypto'\ncreateHash('sha256')",
    "import type { randomUUID } from 'node:crypto'",
    '// Date.now()\nconst text = "Math.random()"',
    "if (typeof performance !== 'undefined') {}"
  ])('lets pass %s', (text) => {
    expect(found(text)).toEqual([])
  })

  it('looks away in core/src/time and core/src/chance only', () => {
    expect(found('Date.now()', 'packages/core/src/time/clock.ts')).toEqual([])
    expect(found('Math.random()', 'packages/core/src/chance/random.ts')).toEqual([])
    expect(found('Date.now()', 'packages/core/src/timer/clock.ts')).toHaveLength(1)
  })

  it('allows a named use in a named file, and refuses an allowance without a use', () => {
    const file = 'packages/core/src/a.ts'
    const allowed = [{ file, names: ['performance.now'], reason: 'the interrupt deadline inside a worker' }]
    expect(found('performance.now()', file, allowed)).toEqual([])
    expect(found('performance.now()\nDate.now()', file, allowed)).toEqual(['2 Date.now'])
    expect(found('', file, allowed)).toEqual([' performance.now is allowed here and not used'])
  })
})
