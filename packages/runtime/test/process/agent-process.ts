import { readFileSync } from 'node:fs'
import process from 'node:process'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createRuntime, mebibytes } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { fakeApprovalGate } from '../fakes/fake-approval-gate.ts'

/*
 * A process that runs an agent out of memory, says so on stdout, and then waits to be killed. Arguments: the database's
 * file, and the engine's file or '-' for the one beside the package.
 */
const [path = '', engine = '-'] = process.argv.slice(2)
const db = sqliteDatabase({ path })
await migrate(db, [runtimeSchema])
const runtime = createRuntime({
  host: quickjsHost(engine === '-' ? {} : { wasm: readFileSync(engine) }),
  approvals: fakeApprovalGate(),
  checkpoints: sqlCheckpointStore(db),
  incidents: sqlIncidentStore(db),
  sealingKey: new Uint8Array(32).fill(7)
})
try {
  const sandbox = await runtime.open({ tenant: 'acme', agent: 'agent-7', memoryLimitBytes: mebibytes(8) })
  const outcome = await sandbox.evaluate(`
    const held = []
    let sum = 0
    const add = (n) => { held.push(new ArrayBuffer(131072)); sum += n }
    for (let n = 1; n <= 100; n += 1) { add(n); await safepoint() }
    sum
  `)
  process.stdout.write(`${JSON.stringify(outcome)}\n`)
} catch (error) {
  process.stdout.write(`${JSON.stringify(error)}\n`)
}
setInterval(() => {}, 60_000)
