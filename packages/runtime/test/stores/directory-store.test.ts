import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { RuntimeError } from '@enablement/runtime'
import { directoryCheckpointStore } from '@enablement/runtime/directory'
import { memoryIncidentStore } from '@enablement/runtime/memory'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { storeContract } from './store-contract.ts'

let root = ''
let folders = 0
const folder = (): string => {
  folders += 1
  return path.join(root, String(folders))
}

beforeAll(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'runtime-checkpoints-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

const stored = {
  id: '../../etc/passwd',
  tenant: 'acme',
  sandboxId: 's',
  createdAt: 1,
  expiresAt: 10,
  bytes: Uint8Array.from({ length: 1_000 }, (_, n) => n % 251)
}

describe('a directory of checkpoints', () => {
  storeContract(async () => {
    const incidents = memoryIncidentStore()
    return {
      checkpoints: directoryCheckpointStore({ path: folder() }),
      incidents,
      evidenceCount: async () => incidents.evidence.length
    }
  })

  it('keeps an id that is a path within itself, readable by its owner alone', async () => {
    const at = folder()
    const store = directoryCheckpointStore({ path: at })
    await store.save(stored)
    expect(await store.load(stored.id)).toEqual(stored)
    const [name = '', ...others] = await readdir(at)
    expect(others).toEqual([])
    expect(name).toMatch(/^[0-9a-f]{64}\.checkpoint$/)
    if (process.platform !== 'win32') {
      expect((await stat(path.join(at, name))).mode & 0o777).toBe(0o600)
      expect((await stat(at)).mode & 0o777).toBe(0o700)
    }
  })

  it('is shared by processes: one saves, another finds', async () => {
    const at = folder()
    await directoryCheckpointStore({ path: at }).save(stored)
    expect(await directoryCheckpointStore({ path: at }).load(stored.id)).toEqual(stored)
  })

  it('says that a file is damaged, and goes on with the others', async () => {
    const at = folder()
    const store = directoryCheckpointStore({ path: at })
    await store.save(stored)
    const [name = ''] = await readdir(at)
    await store.save({ ...stored, id: 'whole' })
    const file = path.join(at, name)
    const bytes = await readFile(file)
    const damages: readonly [string, Buffer][] = [
      ['empty', Buffer.alloc(0)],
      ['cut in its prefix', bytes.subarray(0, 7)],
      ['cut in its header', bytes.subarray(0, 30)],
      ['another format', Buffer.concat([Buffer.from('NOPE'), bytes.subarray(4)])],
      ['another version', Buffer.concat([bytes.subarray(0, 4), Buffer.from([9]), bytes.subarray(5)])],
      ['a header of 4 GiB', Buffer.concat([bytes.subarray(0, 8), Buffer.alloc(4, 0xff), bytes.subarray(12)])],
      ['no JSON', Buffer.concat([bytes.subarray(0, 12), Buffer.from('?'), bytes.subarray(13)])],
      ['another id', Buffer.from(bytes.toString('latin1').replace('passwd', 'shadow'), 'latin1')]
    ]
    for (const [what, damaged] of damages) {
      await writeFile(file, damaged)
      const error = await store.load(stored.id).catch((thrown: unknown) => thrown)
      expect(error instanceof RuntimeError && error.is('CHECKPOINT_CORRUPT'), what).toBe(true)
      if (what !== 'another id') {
        expect(
          (await store.list('acme', { limit: 10 })).map(({ id }) => id),
          what
        ).toEqual(['whole'])
      }
    }
    await writeFile(file, bytes.subarray(0, 30))
    expect(await store.removeExpired(10, 10)).toBe(1)
  })

  it('removes what a process left that died while it saved, an hour later', async () => {
    const at = folder()
    const store = directoryCheckpointStore({ path: at })
    await store.save(stored)
    const left = path.join(at, 'x.unfinished')
    const now = Date.now()
    await writeFile(left, 'half')
    await store.removeExpired(now, 10)
    expect(await readdir(at)).toContain('x.unfinished')
    await utimes(left, new Date(now - 3_601_000), new Date(now - 3_601_000))
    await store.removeExpired(now, 10)
    expect(await readdir(at)).toEqual([])
  })
})
