import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, it } from 'vitest'
import { quiet, specOf } from './quickjs-kit.ts'

describe('a guest that is busy', () => {
  it('reads its messages as soon after many of them as before', async () => {
    await using host = quickjsHost()
    const sandbox = await host.create(specOf('busy', { hostFunctions: ['probe'] }), {
      ...quiet,
      onCall({ callId, argumentJson }) {
        if (argumentJson === '"flood"') {
          for (let n = 0; n < 1_000; n += 1) sandbox.tell({ type: 'degraded', reason: 'disk_full', capabilities: [] })
        }
        sandbox.answer(callId, { outcome: 'fulfilled', json: undefined })
      }
    })
    const end = await sandbox.run(`
      const spins = async (when) => {
        let over = false, n = 0
        host.probe(when).then(() => { over = true })
        while (!over) { n += 1; await undefined }
        return n
      }
      await spins('flood')
      await spins('probe')`)
    // Each turn is a job: with a slice of 128 for each of the notices it would be 128,000.
    expect(end.outcome === 'completed' && Number(end.json)).toBeLessThan(20_000)
  })
})
