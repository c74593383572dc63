import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CheckpointOffer,
  createCheckpointKey,
  ed25519Signer,
  originOf,
  signCheckpoint,
  splitNotes
} from '@enablement/core/audit'
import { fileCheckpointSink } from '@enablement/core/audit-file'
import { checkpointSinkConformance, conformanceTests } from '@enablement/core/testing'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'

const folder = await mkdtemp(join(tmpdir(), 'checkpoints-'))
afterAll(() => rm(folder, { recursive: true }))

let files = 0
let path = ''
beforeEach(() => {
  path = join(folder, `checkpoints-${files++}`)
})

const signer = ed25519Signer(createCheckpointKey('audit.example.com').signingKey)
const { signal } = new AbortController()

/** The only checkpoint of a log. */
async function first(tenant: string): Promise<CheckpointOffer> {
  const checkpoint = { origin: originOf(signer.name, tenant), size: 1, root: new Uint8Array(32).fill(tenant.length) }
  return { note: await signCheckpoint(signer, checkpoint, { signal }), fromSize: 0, proof: [] }
}

describe('fileCheckpointSink', () => {
  const create = async () => {
    const own = join(folder, `exam-${files++}`)
    const open = [fileCheckpointSink({ path: own })]
    const [sink] = open as [ReturnType<typeof fileCheckpointSink>]
    return {
      sink,
      async reopen() {
        await sink.close()
        open.push(fileCheckpointSink({ path: own }))
        return open.at(-1) as typeof sink
      },
      name: 'audit.example.com',
      [Symbol.asyncDispose]: async () => void (await Promise.all(open.map((one) => one.close())))
    }
  }
  for (const { name, run } of conformanceTests(checkpointSinkConformance, { create, supports: { reopening: true } })) {
    it(name, run)
  }

  it('writes what the checkpoint reader reads, for its owner alone', async () => {
    await using sink = fileCheckpointSink({ path })
    const offers = await Promise.all(['a', 'bb', 'ccc'].map(first))
    for (const offer of offers) await sink.keep(offer)
    const text = await readFile(path, 'utf8')
    expect(splitNotes(text)).toEqual({ notes: offers.map(({ note }) => note), strayLines: 0 })
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('loses nothing but the note that was torn, wherever its writer died', async () => {
    const [before, torn, after] = await Promise.all(['a', 'bb', 'ccc'].map(first))
    if (before === undefined || torn === undefined || after === undefined) return
    const bytes = new TextEncoder().encode(torn.note)
    for (let cut = 0; cut < bytes.length; cut += 7) {
      await writeFile(path, `${before.note}\n`)
      await appendFile(path, bytes.subarray(0, cut))
      await using sink = fileCheckpointSink({ path })
      const origin = originOf(signer.name, 'bb')
      expect(await sink.newest(origin)).toBeUndefined()
      // The sealer offers it again, and then the next.
      expect(await sink.keep(torn)).toEqual({ outcome: 'kept' })
      expect(await sink.keep(after)).toEqual({ outcome: 'kept' })
      await using reopened = fileCheckpointSink({ path })
      expect(await reopened.newest(origin)).toBe(torn.note)
      expect(splitNotes(await readFile(path, 'utf8')).notes).toEqual([before.note, torn.note, after.note])
    }
  })

  it('reads what another process has appended before it judges', async () => {
    await using one = fileCheckpointSink({ path })
    await using other = fileCheckpointSink({ path })
    const offer = await first('a')
    await one.keep(offer)
    expect(await other.keep(offer)).toEqual({ outcome: 'kept' })
    expect(await one.newest(originOf(signer.name, 'a'))).toBe(offer.note)
    expect(splitNotes(await readFile(path, 'utf8')).notes).toHaveLength(1)
  })

  it('reads files that are longer than a chunk', async () => {
    const offers = await Promise.all(Array.from({ length: 40 }, (_, at) => first('t'.repeat(at + 1))))
    const filler = `${`${'~'.repeat(100)}\n`.repeat(200)}\n`
    await writeFile(path, offers.map(({ note }) => `${note}\n${filler}`).join(''))
    await using sink = fileCheckpointSink({ path })
    for (const [at, { note }] of offers.entries()) {
      expect(await sink.newest(originOf(signer.name, 't'.repeat(at + 1)))).toBe(note)
    }
  })

  it('says that it cannot when the folder is not there, the file is no file, or the line has no end', async () => {
    const nowhere = fileCheckpointSink({ path: join(folder, 'missing', 'file') })
    await expect(nowhere.newest('a/b')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(nowhere.keep(await first('a'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(fileCheckpointSink({ path: folder }).newest('a/b')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE'
    })
    await writeFile(path, '')
    await truncate(path, 3_000_000)
    await using endless = fileCheckpointSink({ path })
    await expect(endless.newest('a/b')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })

  it('answers nothing after it was closed, and refuses options that are not known', async () => {
    const sink = fileCheckpointSink({ path })
    await sink.close()
    await sink.close()
    await expect(sink.newest('a/b')).rejects.toMatchObject({ code: 'CLOSED' })
    for (const options of [{}, { path: '' }, { path: 'a\0b' }, { path, mode: 1 }]) {
      expect(() => fileCheckpointSink(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    }
  })
})
