import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { mebibytes } from '@enablement/runtime'
import { type ProcessHostOptions, processHost } from '@enablement/runtime/process'
import { sandboxHostConformance, sandboxHostSupports } from '@enablement/runtime/testing'

/*
 * Takes the exam in a process of its own, whoever's that is, and says on stdout how it went. Arguments: the isolation, and
 * the program bwrap.
 */
const [isolation = 'none', bwrap = ''] = process.argv.slice(2)
const folder = mkdtempSync(path.join(os.tmpdir(), 'process-exam-'))
const options: ProcessHostOptions = {
  stateFolder: path.join(folder, 'state'),
  ...(isolation === 'none' ? { isolation } : { bwrap })
}
const failures: string[] = []
let cases = 0
try {
  const supports = sandboxHostSupports(processHost(options).capabilities)
  for (const { name, needs = [], run } of sandboxHostConformance.cases) {
    if (!needs.every((need) => supports[need])) continue
    cases += 1
    const host = processHost(options)
    try {
      await run(async () => ({ host, memoryLimitBytes: mebibytes(128), [Symbol.asyncDispose]: () => host.close() }))
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.stdout.write(JSON.stringify({ failures, cases, user: process.getuid?.() ?? -1 }))
