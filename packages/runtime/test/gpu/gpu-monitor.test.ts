import { testPlatform } from '@enablement/core/testing'
import { mebibytes } from '@enablement/runtime'
import { createGpuMonitor, type GpuEvent, type GpuMonitorOptions } from '@enablement/runtime/monitor'
import { describe, expect, it } from 'vitest'
import { type FakeGpuMachine, fixture, smiOf } from '../fakes/fake-nvidia-smi.ts'

const uuid = (n: number): string => `GPU-0000000${n}`
const row = (n: number, used: number, total = 1_000): string =>
  `${n}, ${uuid(n)}, ${total}, ${used}, ${total - used}, 0, 50, Disabled, NVIDIA A100\n`

function stage(machine: FakeGpuMachine, options: Partial<GpuMonitorOptions> = {}) {
  const platform = testPlatform()
  const events: GpuEvent[] = []
  const monitor = createGpuMonitor({
    smi: smiOf(machine),
    platform,
    observe: (event) => void events.push(event),
    ...options
  })
  return {
    platform,
    events,
    monitor,
    types: () => events.map(({ type }) => type),
    [Symbol.asyncDispose]: () => monitor.close()
  }
}

describe('a GPU monitor', () => {
  it('tells each GPU’s warning from 80 % and critical from 95 % on, with hysteresis', async () => {
    const machine = { query: row(0, 799) + row(1, 10) }
    await using kit = stage(machine)
    await kit.monitor.check()
    for (const used of [800, 750, 950, 880, 879, 749]) {
      machine.query = row(0, used) + row(1, 10)
      await kit.monitor.check()
    }
    expect(kit.types()).toEqual(['gpu.warning', 'gpu.critical', 'gpu.warning', 'gpu.normal'])
    expect(kit.events.every((event) => 'reading' in event && event.reading.uuid === uuid(0))).toBe(true)
    expect(kit.events[1]).toMatchObject({ reading: { usedRatio: 0.95, name: 'NVIDIA A100' } })
  })

  it('knows a GPU by its uuid, not by its place', async () => {
    const machine = { query: row(0, 960) + row(1, 10) }
    await using kit = stage(machine)
    await kit.monitor.check()
    machine.query = row(1, 10) + row(0, 960)
    await kit.monitor.check()
    expect(kit.types()).toEqual(['gpu.critical'])
  })

  it('judges the instances of a split GPU each by its own memory', async () => {
    await using kit = stage({ query: fixture('mig.csv'), xml: fixture('mig.xml') })
    await kit.monitor.check()
    expect(kit.events).toMatchObject([
      { type: 'gpu.critical', reading: { key: 'GPU-feba7e40-d724-01ff-b00f-3a439a28a6c7/gi5', instance: 5 } }
    ])
  })

  it('says once why nothing is known, keeps no reading meanwhile, and says when there is one again', async () => {
    const machine: FakeGpuMachine = { query: row(0, 960) }
    await using kit = stage(machine)
    await kit.monitor.check()
    Object.assign(machine, { query: 'No devices were found', exitCode: 6 })
    await kit.monitor.check()
    await kit.monitor.check()
    expect(kit.monitor.state()).toEqual({ outcome: 'unavailable', reason: 'no-devices', exitCode: 6 })
    Object.assign(machine, { query: row(0, 960), exitCode: 0 })
    await kit.monitor.check()
    expect(kit.types()).toEqual(['gpu.critical', 'gpu.unavailable', 'gpu.available'])
  })

  it('says when a GPU is lost, or its memory can no longer be read', async () => {
    const machine = { query: row(0, 100) + row(1, 100) }
    await using kit = stage(machine)
    await kit.monitor.check()
    machine.query = row(0, 100) + row(1, 100).replace(' 100,', ' [Unknown Error],')
    expect(await kit.monitor.check()).toMatchObject({ unreadable: [uuid(1)] })
    expect(kit.events).toEqual([{ type: 'gpu.lost', key: uuid(1) }])
  })

  it('attributes memory to sandboxes by their processes, and the rest to the device', async () => {
    const apps = `71, 300, ${uuid(0)}\n72, 200, ${uuid(0)}\n80, 100, ${uuid(0)}\n71, 50, ${uuid(1)}\n`
    const users = () => [
      { sandboxId: 'a', processes: () => [71, 72] },
      { sandboxId: 'b', processes: () => [90] }
    ]
    await using kit = stage({ query: row(0, 700) + row(1, 60) + row(2, 60), apps }, { users })
    expect(await kit.monitor.check()).toMatchObject({
      gpus: [
        {
          attribution: 'by-process',
          sandboxes: [{ sandboxId: 'a', usedBytes: mebibytes(500) }],
          deviceWideBytes: mebibytes(200)
        },
        { sandboxes: [{ sandboxId: 'a', usedBytes: mebibytes(50) }], deviceWideBytes: mebibytes(10) },
        { attribution: 'device-wide', sandboxes: [], deviceWideBytes: mebibytes(60) }
      ]
    })
  })

  it.each([
    ['[N/A]', `71, [N/A], ${uuid(0)}\n`],
    ['[Insufficient Permissions]', `[Insufficient Permissions], [Insufficient Permissions], ${uuid(0)}\n`],
    ['nothing', ''],
    ['garbage', 'x\0,,,\n1\n']
  ])('marks memory as the device’s where the tool says %s of processes', async (_what, apps) => {
    const users = () => [{ sandboxId: 'a', processes: () => [71] }]
    await using kit = stage({ query: row(0, 700), apps }, { users })
    expect(await kit.monitor.check()).toMatchObject({
      gpus: [{ attribution: 'device-wide', sandboxes: [], deviceWideBytes: mebibytes(700) }]
    })
  })

  it('looks every 5 s, never twice at a time, and is stale when no look has ended for three intervals', async () => {
    let calls = 0
    await using kit = stage(
      {},
      {
        smi: () => {
          calls += 1
          return new Promise(() => undefined)
        }
      }
    )
    await kit.platform.clock.advance(20_000)
    expect(calls).toBe(1)
    expect(kit.monitor.isStale()).toBe(true)
    expect(kit.monitor.state()).toBeUndefined()
    expect(kit.types()).toEqual(['gpu.stale'])
    await kit.monitor.close()
    expect(kit.platform.clock.pendingTimers).toBe(0)
  })

  it('goes on when a sandbox cannot say which processes it has, whose memory is then the device’s', async () => {
    const users = () => [
      {
        sandboxId: 'gone',
        processes: () => {
          throw new Error('SANDBOX_GONE')
        }
      },
      { sandboxId: 'box-1', processes: () => [7] }
    ]
    await using kit = stage({ query: row(0, 100), apps: `7, 60, ${uuid(0)}\n` }, { users })
    expect(await kit.monitor.check()).toMatchObject({
      gpus: [{ sandboxes: [{ sandboxId: 'box-1', usedBytes: mebibytes(60) }], deviceWideBytes: mebibytes(40) }]
    })
  })

  it('refuses a clear ratio above its level, at which levels would flap', () => {
    const thresholds = { warningRatio: 0.8, warningClearRatio: 0.9, criticalRatio: 0.95, criticalClearRatio: 0.88 }
    expect(() => createGpuMonitor({ smi: smiOf({}), thresholds })).toThrow(/clear ratio must not be above its level/)
  })

  it('refuses options that there are not', () => {
    expect(() => createGpuMonitor({ interval: 5 } as GpuMonitorOptions)).toThrow(/interval: there is no such option/)
  })
})
