import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { bundledProgram } from '@enablement/build/program'
import { processHost } from '@enablement/runtime/process'
import { sandboxHostConformance, sandboxHostSupports } from '@enablement/runtime/testing'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { hostOf, isolations, limitBytes, readableTools, temporary } from './support.ts'

/** The built output shows for one user that it is whole. */
const isSource = inject('scale') >= 1

describe.each(isolations)('a process host with isolation %s', (_name, options) => {
  const place = temporary()
  afterAll(() => place[Symbol.dispose]())
  const supports = sandboxHostSupports(processHost(options).capabilities)
  for (const { name, needs = [], run } of sandboxHostConformance.cases) {
    if (!needs.every((need) => supports[need])) continue
    it(name, () =>
      run(async () => {
        const host = hostOf(options, place.folder)
        return { host, memoryLimitBytes: limitBytes, [Symbol.asyncDispose]: () => host.close() }
      })
    )
  }
})

/** Where this runs as root the same is done by a user who is nobody; where it does not, in a process of its own. */
const isRoot = process.getuid?.() === 0

describe.each(isSource ? isolations : [])(
  `a process host of ${isRoot ? 'a user without rights' : 'this user'} with isolation %s`,
  (name) => {
    const place = temporary()
    const children: ChildProcess[] = []
    let program = ''
    beforeAll(async () => {
      program = await bundledProgram(path.join(import.meta.dirname, 'exam-process.ts'), place.folder)
      chmodSync(program, 0o644)
    })
    afterAll(() => {
      for (const child of children) child.kill('SIGKILL')
      place[Symbol.dispose]()
    })

    it('passes the whole exam', async () => {
      const { node, bwrap } = readableTools(place.folder)
      const child = spawn(node, [program, name, bwrap], {
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { PATH: process.env['PATH'] },
        ...(isRoot ? { uid: 65_534, gid: 65_534 } : {})
      })
      children.push(child)
      let report = ''
      for await (const piece of child.stdout) report += String(piece)
      const { failures, cases, user } = JSON.parse(report) as { failures: string[]; cases: number; user: number }
      expect(failures).toEqual([])
      expect(cases).toBeGreaterThan(25)
      expect(user).not.toBe(0)
    }, 120_000)
  }
)
