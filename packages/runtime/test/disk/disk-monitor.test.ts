import { testPlatform } from '@enablement/core/testing'
import {
  createDiskMonitor,
  type DiskMonitorEvent,
  type DiskMonitorOptions,
  type FileSystemStat
} from '@enablement/runtime/monitor'
import { describe, expect, it } from 'vitest'

/** A file system of 1,000 blocks of 1,000 bytes, and 1,000 inodes, all free. */
const empty: FileSystemStat = { bsize: 1_000, blocks: 1_000, bfree: 1_000, bavail: 1_000, files: 1_000, ffree: 1_000 }
const used = (blocks: number): FileSystemStat => ({ ...empty, bfree: 1_000 - blocks, bavail: 1_000 - blocks })

function stage(options: Partial<DiskMonitorOptions> = {}) {
  const platform = testPlatform()
  const events: DiskMonitorEvent[] = []
  const disk = { stat: empty as FileSystemStat | Error | Promise<FileSystemStat>, calls: 0 }
  const monitor = createDiskMonitor({
    root: '/data',
    platform,
    observe: (event) => void events.push(event),
    async statfs(root) {
      expect(root).toBe('/data')
      disk.calls += 1
      if (disk.stat instanceof Error) throw disk.stat
      return disk.stat
    },
    ...options
  })
  return {
    platform,
    events,
    disk,
    monitor,
    types: () => events.map(({ type }) => type),
    [Symbol.asyncDispose]: () => monitor.close()
  }
}

describe('a disk monitor', () => {
  it.each([
    [799, 'normal'],
    [800, 'warning'],
    [949, 'warning'],
    [950, 'critical'],
    [1_000, 'critical']
  ])('reads %d of 1,000 blocks as %s', async (blocks, level) => {
    await using kit = stage()
    kit.disk.stat = used(blocks)
    await kit.monitor.check()
    expect((await kit.monitor.check())?.level).toBe(level)
  })

  it('does not flap: a level ends only below its clear ratio, and each change is told once', async () => {
    await using kit = stage()
    await kit.monitor.check()
    for (const blocks of [800, 799, 750, 749, 950, 949, 880, 879, 750, 749]) {
      kit.disk.stat = used(blocks)
      await kit.monitor.check()
    }
    expect(kit.types()).toEqual(['disk.warning', 'disk.normal', 'disk.critical', 'disk.warning', 'disk.normal'])
  })

  it('counts as df does: what is reserved for root is neither used nor available', async () => {
    await using kit = stage()
    await kit.monitor.check()
    // ext4 -m 5 as it was measured, an unprivileged user out of room while root still has 4,822 blocks.
    kit.disk.stat = { ...empty, blocks: 100_000, bfree: 4_822, bavail: 0 }
    expect(await kit.monitor.check()).toMatchObject({ level: 'critical', usedRatio: 1, bytes: { available: 0 } })
    kit.disk.stat = { ...empty, blocks: 66_053_021, bfree: 58_109_626, bavail: 18_654_333 }
    expect((await kit.monitor.check())?.usedRatio).toBeCloseTo(7_943_395 / 26_597_728, 12)
  })

  it('judges by inodes where these run out first', async () => {
    await using kit = stage()
    await kit.monitor.check()
    kit.disk.stat = { ...used(100), ffree: 40 }
    expect(await kit.monitor.check()).toMatchObject({ level: 'critical', limitedBy: 'inodes', usedRatio: 0.96 })
  })

  it('takes a resource that is not counted for unbounded: btrfs has no inodes, unlimited tmpfs no blocks', async () => {
    await using kit = stage()
    await kit.monitor.check()
    kit.disk.stat = { ...used(500), files: 0, ffree: 0 }
    expect(await kit.monitor.check()).not.toHaveProperty('inodes')
    kit.disk.stat = { ...empty, blocks: 0, bfree: 0, bavail: 0 }
    expect(await kit.monitor.check()).not.toHaveProperty('bytes')
  })

  it('counts blocks in the unit that they are counted in, which is not always the one to write in', async () => {
    await using kit = stage()
    await kit.monitor.check()
    kit.disk.stat = { ...used(500), bsize: 1_048_576, frsize: 4_096 }
    expect((await kit.monitor.check())?.bytes).toMatchObject({ used: 2_048_000, available: 2_048_000 })
  })

  it('keeps room for a checkpoint: what is reserved counts as used', async () => {
    await using kit = stage({ keepFreeBytes: 100_000 })
    await kit.monitor.check()
    kit.disk.stat = used(700)
    expect(await kit.monitor.check()).toMatchObject({ level: 'warning', usedRatio: 0.8, bytes: { available: 200_000 } })
    kit.disk.stat = used(950)
    expect(await kit.monitor.check()).toMatchObject({ usedRatio: 1, bytes: { available: 0 } })
  })

  it.each([
    ['more is free than there is', { ...empty, bfree: 1_500, bavail: 1_500 }, 0],
    ['what is available is negative, and came unsigned', { ...empty, bfree: 3, bavail: 2 ** 64 - 7 }, 1]
  ])('bears answers in which %s', async (_what, stat, ratio) => {
    await using kit = stage()
    await kit.monitor.check()
    kit.disk.stat = stat
    expect((await kit.monitor.check())?.usedRatio).toBe(ratio)
  })

  it.each([
    ['fails', Object.assign(new Error('EIO'), { code: 'EIO' })],
    ['gives no numbers', { ...empty, blocks: Number.NaN }],
    ['bounds nothing', { ...empty, blocks: 0, files: 0 }]
  ])('has no reading where statfs %s, says so once, and keeps the level', async (_what, stat) => {
    await using kit = stage()
    kit.disk.stat = used(960)
    await kit.platform.clock.advance(5_000)
    kit.disk.stat = stat
    expect(await kit.monitor.check()).toBeUndefined()
    expect(await kit.monitor.check()).toBeUndefined()
    kit.disk.stat = used(890)
    expect(await kit.monitor.check()).toMatchObject({ level: 'critical' })
    expect(kit.types()).toEqual(['disk.critical', 'disk.unreadable'])
  })

  it('looks every 5 s, never twice at a time, and is stale when no look has ended for three intervals', async () => {
    await using kit = stage()
    await kit.platform.clock.advance(10_000)
    expect(kit.disk.calls).toBe(3)
    kit.disk.stat = new Promise(() => undefined)
    await kit.platform.clock.advance(15_000)
    expect(kit.disk.calls).toBe(4)
    expect(kit.monitor.isStale()).toBe(false)
    await kit.platform.clock.advance(5_000)
    expect(kit.monitor.isStale()).toBe(true)
    await kit.platform.clock.advance(20_000)
    expect(kit.types()).toEqual(['disk.stale'])
    expect(kit.disk.calls).toBe(4)
  })

  it('ends when it is closed, also while a look hangs', async () => {
    const kit = stage()
    kit.disk.stat = new Promise(() => undefined)
    await kit.monitor.close()
    await kit.platform.clock.advance(60_000)
    expect(kit.disk.calls).toBe(1)
    expect(kit.platform.clock.pendingTimers).toBe(0)
    expect(kit.types()).toEqual([])
  })

  it('reads a real file system', async () => {
    await using monitor = createDiskMonitor({ root: '/' })
    const reading = await monitor.check()
    expect(reading?.bytes?.available).toBeGreaterThan(0)
    expect(reading?.usedRatio).toBeGreaterThan(0)
    expect(reading?.usedRatio).toBeLessThanOrEqual(1)
  })

  it.each([
    [{ root: 'relative' }, /root/],
    [{ root: '/', intervalMs: 0 }, /intervalMs/],
    [{ root: '/', interval: 5 }, /interval: there is no such option/],
    [
      {
        root: '/',
        thresholds: { warningRatio: 0.9, warningClearRatio: 0.95, criticalRatio: 0.95, criticalClearRatio: 0.9 }
      },
      /thresholds/
    ]
  ])('refuses %j', (options, message) => {
    expect(() => createDiskMonitor(options as DiskMonitorOptions)).toThrow(message)
  })
})
