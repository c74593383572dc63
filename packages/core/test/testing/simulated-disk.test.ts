import type { JournalFile } from '@enablement/core/journal'
import {
  type DiskEvent,
  type PowerCut,
  randomPowerCut,
  seededRandom,
  simulatedDisk,
  testPlatform
} from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const bytesOf = (text: string): Uint8Array => Buffer.from(text)

describe('the simulated disk (pitfall 11)', () => {
  it('tells a killed process nothing any more, loses nothing by it, and lets the next one in', async () => {
    const disk = simulatedDisk()
    const folder = await disk.openFolder('f')
    const file = await folder.create('a')
    await file.write(bytesOf('unsynced'), 0)
    disk.kill()
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync'], times: 1 })
    let answered = false
    void file.sync().finally(() => {
      answered = true
    })
    const after = await disk.openFolder('f')
    expect(await after.names()).toEqual(['a'])
    // A call that is never answered has used up no fault.
    await expect((await after.open('a', 'update')).sync()).rejects.toMatchObject({ code: 'EIO' })
    expect(disk.files.read('f', 'a').toString()).toBe('unsynced')
    expect(answered).toBe(false)
  })

  it('loses by a power cut what was never synced, in any order, as its chance says, the same for the same seed', async () => {
    const left = async (seed: number): Promise<string> => {
      const disk = simulatedDisk({ platform: testPlatform({ seed }) })
      const folder = await disk.openFolder('f')
      const file = await folder.create('a')
      await file.write(bytesOf('s'.repeat(512)), 0)
      await file.sync()
      await folder.sync()
      for (let count = 1; count < 9; count++) await file.write(bytesOf(String(count).repeat(512)), count * 512)
      disk.powerCut()
      return disk.files.read('f', 'a').toString('latin1')
    }
    const texts = await Promise.all(Array.from({ length: 20 }, (_, seed) => left(seed)))
    expect(await left(3)).toBe(texts[3])
    expect(new Set(texts).size).toBeGreaterThan(15)
    for (const text of texts) expect(text.slice(0, 512)).toBe('s'.repeat(512))
    // A later write without an earlier one.
    expect(texts.some((text) => !text.includes('1') && text.includes('8'))).toBe(true)
  })

  it.each([
    ['all', 'n'.repeat(2_000)],
    ['none', 'o'.repeat(1_500)],
    ['half', `${'n'.repeat(1_000)}${'o'.repeat(500)}`],
    ['zeros', `${'o'.repeat(1_500)}${'\0'.repeat(500)}`],
    // Sectors 0 and 2 have the old bytes, or zeros where there were none; the last one is not whole.
    ['holes', `${'o'.repeat(512)}${'n'.repeat(512)}${'o'.repeat(476)}${'\0'.repeat(36)}${'n'.repeat(464)}`]
  ] as const)('has old bytes or new ones, sector by sector, after a power cut: %s', async (remains, expected) => {
    const disk = simulatedDisk()
    const folder = await disk.openFolder('f')
    const file = await folder.create('a')
    await file.write(bytesOf('o'.repeat(1_500)), 0)
    await file.sync()
    await folder.sync()
    await file.write(bytesOf('n'.repeat(2_000)), 0)
    disk.powerCut({ name: () => true, write: () => remains })
    expect(disk.files.read('f', 'a').toString()).toBe(expected)
  })

  it.each([
    ['all', 'a'.repeat(300) + 'b'.repeat(300)],
    ['none', ''],
    ['half', 'a'.repeat(300)],
    ['zeros', '\0'.repeat(600)]
  ] as const)('decides once about writes that meet within a sector: %s', async (remains, expected) => {
    const disk = simulatedDisk()
    const folder = await disk.openFolder('f')
    const file = await folder.create('a')
    await folder.sync()
    await file.write(bytesOf('a'.repeat(300)), 0)
    await file.write(bytesOf('b'.repeat(300)), 300)
    let asked = 0
    const write = () => (asked++ === 0 ? remains : 'all')
    disk.powerCut({ name: () => true, write })
    expect(disk.files.read('f', 'a').toString()).toBe(expected)
  })

  it('uses up no slice on a call that cannot be cut short', async () => {
    const disk = simulatedDisk()
    disk.faults.add({ kind: 'slice', sliceMaxBytes: 1, times: 1 })
    const file = await (await disk.openFolder('f')).create('a')
    expect(await file.write(bytesOf('abc'), 0)).toBe(1)
    expect(await file.write(bytesOf('abc'), 0)).toBe(3)
  })

  it('takes pages for clean when a sync has failed: the next one succeeds, and they are gone with the power', async () => {
    const disk = simulatedDisk()
    const folder = await disk.openFolder('f')
    const file = await folder.create('a')
    await folder.sync()
    await file.write(bytesOf('abc'), 0)
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync'], times: 1 })
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO', syscall: 'fsync' })
    await file.sync()
    expect(disk.files.read('f', 'a').toString()).toBe('abc')
    expect(
      disk
        .afterPowerCut({ name: () => true, write: () => 'all' })
        .files.read('f', 'a')
        .toString()
    ).toBe('')
  })

  it('syncs what was written before the call and not what came during it', async () => {
    const platform = testPlatform()
    const disk = simulatedDisk({ platform })
    const folder = await disk.openFolder('f')
    const file: JournalFile = await folder.create('a')
    await folder.sync()
    await file.write(bytesOf('abc'), 0)
    disk.faults.add({ kind: 'latency', latencyMs: 50, only: ['sync'] })
    const synced = file.sync()
    await file.write(bytesOf('def'), 3)
    await platform.clock.advance(49)
    const nothing: PowerCut = { name: () => false, write: () => 'none' }
    expect(disk.afterPowerCut(nothing).files.read('f', 'a').toString()).toBe('')
    await platform.clock.advance(1)
    await synced
    expect(disk.afterPowerCut(nothing).files.read('f', 'a').toString()).toBe('abc')
  })

  it('is full at its capacity, after as much as fits, until something is removed', async () => {
    const disk = simulatedDisk({ capacityBytes: 10 })
    const folder = await disk.openFolder('f')
    const [a, b] = [await folder.create('a'), await folder.create('b')]
    expect(await a.write(bytesOf('12345678'), 0)).toBe(8)
    expect(await b.write(bytesOf('abcd'), 0)).toBe(2)
    await expect(b.write(bytesOf('cd'), 2)).rejects.toMatchObject({ code: 'ENOSPC', syscall: 'write' })
    expect(await a.write(bytesOf('x'), 0)).toBe(1)
    await folder.remove('a')
    expect(await b.write(bytesOf('cd'), 2)).toBe(2)
  })

  it('keeps half of a write that fails', async () => {
    const disk = simulatedDisk()
    const file = await (await disk.openFolder('f')).create('a')
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['write'], times: 1 })
    await expect(file.write(bytesOf('12345678'), 0)).rejects.toMatchObject({ code: 'EIO' })
    expect(disk.files.read('f', 'a').toString()).toBe('1234')
  })

  it('gives the same disk to whoever looks after a power cut, and goes on itself', async () => {
    const disk = simulatedDisk()
    const folder = await disk.openFolder('f')
    const file = await folder.create('a')
    const after = disk.afterPowerCut(randomPowerCut(seededRandom(1)))
    await file.write(bytesOf('on'), 0)
    await file.sync()
    await folder.sync()
    expect(disk.files.names('f')).toEqual(['a'])
    await (await after.openFolder('f')).create('b')
    expect(disk.files.names('f')).toEqual(['a'])
  })

  it('tells what it was asked for, and whether that failed', async () => {
    const events: DiskEvent[] = []
    const disk = simulatedDisk({ observe: (event) => events.push(event) })
    const folder = await disk.openFolder('f')
    await folder.open('none', 'read').catch(() => {})
    await (await folder.create('a')).sync()
    expect(events).toEqual([
      { operation: 'open-folder', folder: 'f', name: undefined, outcome: 'done' },
      { operation: 'open', folder: 'f', name: 'none', outcome: 'failed' },
      { operation: 'create', folder: 'f', name: 'a', outcome: 'done' },
      { operation: 'sync', folder: 'f', name: 'a', outcome: 'done' }
    ])
  })

  it('refuses a fault of an operation that it does not have', () => {
    expect(() => simulatedDisk().faults.add({ kind: 'hang', only: ['fsync'] })).toThrow(
      'a simulated disk has nothing of the name fsync'
    )
  })

  it.each([{ capacityBytes: -1 }, { capacityBytes: Number.NaN }, { platfrom: {} }])('refuses %o', (options) => {
    expect(() => simulatedDisk(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
