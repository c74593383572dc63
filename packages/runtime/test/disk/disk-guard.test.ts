import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { testPlatform } from '@enablement/core/testing'
import {
  createDiskGuard,
  type DiskEvent,
  type DiskGuardOptions,
  type FileSystemStat
} from '@enablement/runtime/monitor'
import { afterEach, describe, expect, it } from 'vitest'
import { type DiskFolder, diskFolder, noProcesses } from '../fakes/disk-folder.ts'
import { fakeApprovalGate } from '../fakes/fake-approval-gate.ts'
import { until } from '../fakes/runtime-kit.ts'

const capacity = 1_000

/** A file system of 1,000 kibibytes, as full as the folder's files make it and `ballast` besides. */
function statOf(folder: DiskFolder, ballast: number): FileSystemStat {
  const sizes = readdirSync(folder.root, { recursive: true, encoding: 'utf8' })
    .map((path) => statSync(folder.at(path)))
    .filter((stat) => stat.isFile())
    .map((stat) => stat.size / 1_024)
  const files = Math.ceil(sizes.reduce((sum, size) => sum + size, 0))
  const bfree = Math.max(0, capacity - files - ballast)
  return { bsize: 1_024, blocks: capacity, bfree, bavail: bfree, files: 0, ffree: 0 }
}

function stage(options: Partial<DiskGuardOptions> = {}, parts = { folder: diskFolder(), gate: fakeApprovalGate() }) {
  const { folder, gate } = parts
  const platform = testPlatform()
  const events: DiskEvent[] = []
  const steps: string[] = []
  const disk = { ballast: 0 }
  const sandbox = {
    async setReadOnly(readOnly: boolean) {
      steps.push(readOnly ? 'read-only' : 'writable')
      return 'remount' as const
    },
    tell({ type, reason, capabilities }: { type: string; reason: string; capabilities: readonly string[] }) {
      steps.push(`${type} ${reason} ${capabilities.join()}`)
    }
  }
  const guard = createDiskGuard({
    root: folder.root,
    tenant: 'acme',
    agent: 'agent-7',
    sandboxId: 'box-1',
    sandbox,
    approvals: gate,
    minBytes: 65_536,
    procRoot: noProcesses,
    platform,
    statfs: async () => statOf(folder, disk.ballast),
    observe: (event) => void events.push(event),
    ...options
  })
  const types = () => events.map(({ type }) => type)
  return {
    ...parts,
    platform,
    events,
    steps,
    disk,
    sandbox,
    guard,
    types,
    told: (type: DiskEvent['type']) => until(() => types().includes(type)),
    async [Symbol.asyncDispose]() {
      await guard.close()
      folder[Symbol.dispose]()
    }
  }
}

describe('a disk guard', () => {
  it('stops writes at critical, asks once, deletes what was approved, and lets writing go on', async () => {
    await using kit = stage()
    kit.folder.write('logs/huge', 600)
    kit.folder.write('logs/large', 352)
    kit.folder.write('small', 20)
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    expect(kit.steps).toEqual(['degraded disk_full workspace-write', 'read-only'])
    expect(kit.guard.isReadOnly()).toBe(true)
    const [ask] = kit.gate.asks
    expect(ask).toMatchObject({
      tenant: 'acme',
      action: 'runtime.delete-files',
      requestedBy: { agent: 'agent-7' },
      summary: 'the disk of agent-7 is full; delete 2 files (0.9 MiB)? Files in use or changed by then are left alone.',
      detail: {
        resource: 'disk',
        sandboxId: 'box-1',
        reclaimableBytes: 974_848,
        files: [{ paths: ['logs/huge'] }, { paths: ['logs/large'] }]
      }
    })
    for (let look = 0; look < 3; look += 1) await kit.guard.check()
    expect(kit.gate.asks).toHaveLength(1)

    kit.gate.approve(`request:${ask?.idempotencyKey}`)
    await kit.told('disk.writable')
    await kit.guard.check()
    expect(kit.steps.slice(2)).toEqual(['writable', 'recovered disk_full workspace-write'])
    expect(readdirSync(kit.folder.at('logs'))).toEqual([])
    expect(existsSync(kit.folder.at('small'))).toBe(true)
    expect(kit.types()).toEqual([
      'disk.critical',
      'disk.read-only',
      'disk.approval-requested',
      'disk.deleted',
      'disk.normal',
      'disk.writable'
    ])
    expect(kit.events.find(({ type }) => type === 'disk.deleted')).toMatchObject({
      tenant: 'acme',
      sandboxId: 'box-1',
      reclaimedBytes: 974_848,
      deletions: [
        { path: 'logs/huge', outcome: 'deleted' },
        { path: 'logs/large', outcome: 'deleted' }
      ]
    })
  })

  it('stays read-only until the disk is below the clear ratio, whoever makes the room', async () => {
    await using kit = stage()
    kit.disk.ballast = 960
    await kit.guard.check()
    kit.disk.ballast = 890
    await kit.guard.check()
    expect(kit.guard.isReadOnly()).toBe(true)
    kit.disk.ballast = 870
    await kit.guard.check()
    expect(kit.guard.isReadOnly()).toBe(false)
    expect(kit.types()).toEqual([
      'disk.critical',
      'disk.read-only',
      'disk.nothing-to-delete',
      'disk.warning',
      'disk.writable'
    ])
  })

  it('asks no second time after a restart: the same list is the same request', async () => {
    const parts = { folder: diskFolder(), gate: fakeApprovalGate() }
    parts.folder.write('large', 960)
    const before = stage({}, parts)
    await before.guard.check()
    await before.told('disk.approval-requested')
    await before.guard.close()
    await using after = stage({}, parts)
    await after.guard.check()
    await after.told('disk.approval-requested')
    expect(parts.gate.asks).toHaveLength(1)
    parts.gate.approve(`request:${parts.gate.asks[0]?.idempotencyKey}`)
    await after.told('disk.writable')
    expect(before.types()).not.toContain('disk.deleted')
    expect(parts.gate.executions).toBe(1)
  })

  it('keeps out of what changed between the request and its approval', async () => {
    await using kit = stage()
    kit.folder.write('log', 500)
    kit.folder.write('result', 460)
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    writeFileSync(kit.folder.at('result'), Buffer.alloc(460 * 1_024, 9))
    kit.gate.approve(`request:${kit.gate.asks[0]?.idempotencyKey}`)
    await kit.told('disk.deleted')
    expect(kit.events.find(({ type }) => type === 'disk.deleted')).toMatchObject({
      deletions: [
        { path: 'log', outcome: 'deleted' },
        { path: 'result', outcome: 'changed' }
      ]
    })
  })

  it.each([
    ['denied', (gate: ReturnType<typeof fakeApprovalGate>, id: string) => gate.deny(id)],
    ['timed-out', (gate: ReturnType<typeof fakeApprovalGate>, id: string) => gate.lapse(id)]
  ])(
    'leaves everything as it is when the request is %s, and asks again only in another episode',
    async (outcome, settle) => {
      await using kit = stage()
      kit.folder.write('large', 960)
      await kit.guard.check()
      await kit.told('disk.approval-requested')
      settle(kit.gate, `request:${kit.gate.asks[0]?.idempotencyKey}`)
      await kit.told('disk.deletion-refused')
      await kit.platform.clock.advance(300_000)
      expect(kit.gate.asks).toHaveLength(1)
      expect(kit.guard.isReadOnly()).toBe(true)
      expect(existsSync(kit.folder.at('large'))).toBe(true)
      expect(kit.events.at(-1)).toMatchObject({ verdict: { outcome } })
      rmSync(kit.folder.at('large'))
      await kit.guard.check()
      kit.folder.write('other', 970)
      await kit.guard.check()
      await until(() => kit.gate.asks.length === 2)
    }
  )

  it.each([
    ['refused', (gate: ReturnType<typeof fakeApprovalGate>, id: string) => gate.deny(id), 'disk.deletion-refused'],
    ['approved in vain', (gate: ReturnType<typeof fakeApprovalGate>, id: string) => gate.approve(id), 'disk.deleted']
  ] as const)('asks anew for the same files in another episode, when they were %s', async (_what, settle, told) => {
    await using kit = stage()
    kit.folder.write('large', 960)
    utimesSync(kit.folder.at('large'), 1, 1)
    const last = () => `request:${kit.gate.asks.at(-1)?.idempotencyKey}`
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    utimesSync(kit.folder.at('large'), 1, 2)
    settle(kit.gate, last())
    await kit.told(told)
    utimesSync(kit.folder.at('large'), 1, 1)
    renameSync(kit.folder.at('large'), `${kit.folder.root}-aside`)
    await kit.guard.check()
    expect(kit.guard.reading()?.level).toBe('normal')
    renameSync(`${kit.folder.root}-aside`, kit.folder.at('large'))
    await kit.guard.check()
    await until(() => kit.gate.asks.length === 2)
    kit.gate.approve(last())
    await until(() => !existsSync(kit.folder.at('large')))
  })

  it('offers nothing that is protected or in a repository', async () => {
    await using kit = stage({ protect: ['checkpoints/**'] })
    kit.folder.write('checkpoints/image', 400)
    kit.folder.write('.git/objects/pack', 560)
    await kit.guard.check()
    await kit.told('disk.nothing-to-delete')
    await kit.platform.clock.advance(10_000)
    expect(kit.gate.asks).toEqual([])
    expect(kit.types().filter((type) => type === 'disk.nothing-to-delete')).toHaveLength(1)
    kit.folder.write('late', 100)
    await kit.platform.clock.advance(60_000)
    await until(() => kit.gate.asks.length === 1)
  })

  it('asks again at the next look when the gate fails, with the same request', async () => {
    const gate = fakeApprovalGate()
    const request = gate.request.bind(gate)
    let failures = 2
    gate.request = async (ask) => {
      failures -= 1
      if (failures >= 0) throw new Error('the gate is down')
      return request(ask)
    }
    await using kit = stage({}, { folder: diskFolder(), gate })
    kit.folder.write('large', 960)
    for (let look = 0; look < 3; look += 1) {
      await kit.guard.check()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await kit.told('disk.approval-requested')
    expect(kit.types().filter((type) => type === 'disk.step-failed')).toHaveLength(2)
    expect(gate.asks).toHaveLength(1)
  })

  it('tries again to stop writes that it could not stop, and guards a sandbox that cannot be stopped all the same', async () => {
    let failures = 1
    const sandbox = {
      async setReadOnly() {
        failures -= 1
        if (failures >= 0) throw new Error('busy')
      },
      tell: () => {
        throw new Error('gone')
      }
    }
    await using kit = stage({ sandbox })
    kit.disk.ballast = 960
    await kit.guard.check()
    expect(kit.guard.isReadOnly()).toBe(false)
    await kit.guard.check()
    expect(kit.guard.isReadOnly()).toBe(true)
    const failed = kit.events.flatMap((event) => (event.type === 'disk.step-failed' ? [event.step] : []))
    expect(failed).toEqual(['tell', 'read-only'])

    await using bare = stage({ sandbox: { tell: () => undefined } })
    bare.disk.ballast = 960
    await bare.guard.check()
    expect(bare.events).toContainEqual(expect.objectContaining({ type: 'disk.read-only', how: 'none' }))
  })

  it('says what another process did with an approved request', async () => {
    await using kit = stage()
    kit.folder.write('large', 960)
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    kit.gate.execute = async () => ({ outcome: 'in-doubt', since: 5 })
    kit.gate.approve(`request:${kit.gate.asks[0]?.idempotencyKey}`)
    await kit.told('disk.deletion-elsewhere')
    expect(existsSync(kit.folder.at('large'))).toBe(true)
  })

  it('waits for no verdict once it is closed, and leaves no timer', async () => {
    const kit = stage()
    kit.folder.write('large', 960)
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    await kit.guard.close()
    kit.gate.approve(`request:${kit.gate.asks[0]?.idempotencyKey}`)
    await kit.platform.clock.advance(60_000)
    expect(existsSync(kit.folder.at('large'))).toBe(true)
    expect(kit.platform.clock.pendingTimers).toBe(0)
    kit.folder[Symbol.dispose]()
  })

  it.each([
    [{ tenant: '' }, /tenant/],
    [{ minBytes: 0 }, /minBytes/],
    [{ protected: [] }, /protected: there is no such option/],
    [{ sandbox: undefined }, /sandbox/]
  ])('refuses %j', (options, message) => {
    using folder = diskFolder()
    const parts = { folder, gate: fakeApprovalGate() }
    expect(() => stage(options as Partial<DiskGuardOptions>, parts)).toThrow(message)
  })
})

describe('a disk that is really full', () => {
  const mounted: string[] = []
  afterEach(() => {
    for (const root of mounted.splice(0)) spawnSync('umount', [root])
  })

  const mount = (root: string): boolean =>
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'guard-test', root]).status === 0
  const canMount = (() => {
    using probe = diskFolder()
    const isMounted = mount(probe.root)
    if (isMounted) spawnSync('umount', [probe.root])
    return isMounted
  })()
  const where = canMount ? 'a tmpfs of 8 MiB' : 'a folder with a made-up size, for this user may not mount'

  it(`is made read-only, freed although it is, and made writable again: ${where}`, async () => {
    const folder = diskFolder()
    if (canMount && mount(folder.root)) mounted.push(folder.root)
    const remount = async (readOnly: boolean) => {
      if (canMount) spawnSync('mount', ['-o', `remount,${readOnly ? 'ro' : 'rw'}`, folder.root])
      return 'remount' as const
    }
    const canWrite = (): boolean => {
      try {
        writeFileSync(folder.at('probe'), 'x')
        return true
      } catch {
        return false
      }
    }
    await using kit = stage(
      {
        sandbox: { setReadOnly: remount, tell: () => undefined },
        minBytes: 1_048_576,
        procRoot: '/proc',
        ...(canMount ? { statfs: (await import('node:fs/promises')).statfs } : {})
      },
      { folder, gate: fakeApprovalGate() }
    )
    folder.write('large', canMount ? 7_000 : 900)
    expect(canWrite()).toBe(true)
    folder.write('rest', canMount ? 1_100 : 80)
    if (!canMount) folder.write('large', 1_100)
    await kit.guard.check()
    await kit.told('disk.approval-requested')
    if (canMount) expect(canWrite()).toBe(false)
    kit.gate.approve(`request:${kit.gate.asks[0]?.idempotencyKey}`)
    await kit.told('disk.writable')
    expect(existsSync(folder.at('large'))).toBe(false)
    expect(canWrite()).toBe(true)
    // While the temporary folder is removed the tmpfs must be off it.
    for (const root of mounted.splice(0)) spawnSync('umount', [root])
  })
})
