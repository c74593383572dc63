import assert from 'node:assert/strict'
import { signCheckpoint } from '../../audit/checkpoint.ts'
import { createCheckpointKey, ed25519Signer } from '../../audit/checkpoint-key.ts'
import type { CheckpointOffer, CheckpointRefusal, CheckpointSink } from '../../audit/checkpoint-sink.ts'
import { leafHashOf } from '../../audit/merkle-hash.ts'
import { consistencyProof, merkleRoot } from '../../audit/merkle-proof.ts'
import { isSuiteError } from '../../failure/suite-error.ts'
import type { ConformanceKit } from '../conformance.ts'

/** A fresh checkpoint sink under examination. */
export interface CheckpointSinkSubject extends AsyncDisposable {
  readonly sink: CheckpointSink
  /** The same sink as a process finds it that starts now. Asked for where `supports.reopening` alone. */
  reopen(): Promise<CheckpointSink>
  /** Begins the origins of this subject, so that subjects may share a server. Without spaces and plus signs. */
  readonly name: string
}

export type CreateCheckpointSink = () => Promise<CheckpointSinkSubject>

/** Offers that come at the same time. */
const OFFERS = 8

interface Exam {
  readonly sink: CheckpointSink
  reopen(): Promise<CheckpointSink>
  /** An origin of the subject's. */
  origin(log?: string): string
  /** A checkpoint of a history's first `size` entries, with the proof from `fromSize` on. */
  offer(size: number, options?: OfferOptions): Promise<CheckpointOffer>
  newestSize(log?: string): Promise<number | undefined>
}

interface OfferOptions {
  readonly fromSize?: number
  /** Which past it is that the entries tell of; histories differ from their first entry on. */
  readonly history?: string
  /** From which entry on it is another past than `a`'s. */
  readonly differsFrom?: number
  readonly log?: string
}

function leaves(size: number, { history = 'a', differsFrom = 0 }: OfferOptions): readonly Uint8Array[] {
  const text = new TextEncoder()
  return Array.from({ length: size }, (_, at) => leafHashOf(text.encode(`${at < differsFrom ? 'a' : history} ${at}`)))
}

function exam(run: (exam: Exam) => Promise<void>): (create: CreateCheckpointSink) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { sink, name } = subject
    const signer = ed25519Signer(createCheckpointKey(name).signingKey)
    const origin = (log = 'log'): string => `${name}/${log}`
    const signal = new AbortController().signal
    await run({
      sink,
      reopen: () => subject.reopen(),
      origin,
      async offer(size, options = {}) {
        const { fromSize = 0, log } = options
        const hashes = leaves(size, options)
        const checkpoint = { origin: origin(log), size, root: merkleRoot(hashes) }
        const note = await signCheckpoint(signer, checkpoint, { signal })
        return { note, fromSize, proof: consistencyProof(hashes, fromSize) }
      },
      async newestSize(log) {
        const note = await sink.newest(origin(log))
        return note === undefined ? undefined : sizeIn(note)
      }
    })
  }
}

const sizeIn = (note: string): number => Number(note.split('\n')[1])

const refused = (reason: CheckpointRefusal, newestSize: number) => ({ outcome: 'refused', reason, newestSize }) as const

/** Logs that a careless sink would take for one another. */
const LOGS: readonly string[] = [
  'log',
  'Log',
  'log/',
  'log%2Fa',
  'log/a',
  'lo',
  'log.',
  '%6Cog',
  '__proto__',
  'x'.repeat(2_000),
  `${'x'.repeat(1_999)}y`
]

/** What is no checkpoint. */
const NO_CHECKPOINTS: readonly string[] = [
  '',
  'log\n1\n',
  'log\n1\nAAAA\n\n\u2014 log AAAAAAA=\n',
  'log\n-1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\n\u2014 log AAAAAAA=\n',
  'log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 log AAAAAAA=\n',
  'log\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n'
]

/** The exam of a `CheckpointSink`. `reopening`: whether what is kept outlives the process. */
export const checkpointSinkConformance: ConformanceKit<CreateCheckpointSink, 'reopening'> = {
  name: 'CheckpointSink',
  needs: ['reopening'],
  cases: [
    {
      name: 'knows nothing of a log that it was never offered',
      run: exam(async ({ sink, origin }) => {
        assert.equal(await sink.newest(origin()), undefined)
      })
    },
    {
      name: 'keeps the first checkpoint, byte for byte',
      run: exam(async ({ sink, origin, offer }) => {
        const first = await offer(3)
        assert.deepEqual(await sink.keep(first), { outcome: 'kept' })
        assert.equal(await sink.newest(origin()), first.note)
      })
    },
    {
      name: 'keeps each checkpoint that goes on from the newest',
      run: exam(async ({ sink, offer, newestSize }) => {
        let fromSize = 0
        for (const size of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100]) {
          assert.deepEqual(await sink.keep(await offer(size, { fromSize })), { outcome: 'kept' }, `size ${size}`)
          assert.equal(await newestSize(), size)
          fromSize = size
        }
      })
    },
    {
      name: 'keeps what is offered again, and says so',
      run: exam(async ({ sink, offer, origin }) => {
        const first = await offer(3)
        for (let at = 0; at < 3; at++) assert.deepEqual(await sink.keep(first), { outcome: 'kept' })
        const second = await offer(5, { fromSize: 3 })
        for (let at = 0; at < 3; at++) assert.deepEqual(await sink.keep(second), { outcome: 'kept' })
        assert.equal(await sink.newest(origin()), second.note)
      })
    },
    {
      name: 'refuses a smaller tree, although it is the beginning of the newest',
      run: exam(async ({ sink, offer, newestSize }) => {
        await sink.keep(await offer(5))
        assert.deepEqual(await sink.keep(await offer(3)), refused('smaller', 5))
        assert.deepEqual(await sink.keep(await offer(4, { history: 'b' })), refused('smaller', 5))
        assert.equal(await newestSize(), 5)
      })
    },
    {
      name: 'refuses another tree of the same size',
      run: exam(async ({ sink, offer, origin }) => {
        const first = await offer(5)
        await sink.keep(first)
        assert.deepEqual(await sink.keep(await offer(5, { history: 'b' })), refused('different', 5))
        const late = await offer(5, { history: 'b', differsFrom: 4 })
        assert.deepEqual(await sink.keep(late), refused('different', 5))
        assert.equal(await sink.newest(origin()), first.note)
      })
    },
    {
      name: 'refuses a larger tree that does not begin with the newest',
      run: exam(async ({ sink, offer, origin }) => {
        const first = await offer(5)
        await sink.keep(first)
        for (const differsFrom of [0, 3, 4]) {
          const rewritten = await offer(9, { fromSize: 5, history: 'b', differsFrom })
          assert.deepEqual(await sink.keep(rewritten), refused('different', 5))
        }
        assert.equal(await sink.newest(origin()), first.note)
      })
    },
    {
      name: 'refuses a larger tree whose proof is cut, padded or missing',
      run: exam(async ({ sink, offer, newestSize }) => {
        await sink.keep(await offer(5))
        const right = await offer(9, { fromSize: 5 })
        const padded = [...right.proof, right.proof[0] as Uint8Array]
        for (const proof of [[], right.proof.slice(1), right.proof.slice(0, -1), padded]) {
          assert.deepEqual(await sink.keep({ ...right, proof }), refused('different', 5))
        }
        assert.equal(await newestSize(), 5)
      })
    },
    {
      name: 'refuses a proof that begins elsewhere than at the newest',
      run: exam(async ({ sink, offer, newestSize }) => {
        await sink.keep(await offer(5))
        assert.deepEqual(await sink.keep(await offer(9, { fromSize: 4 })), refused('unproven', 5))
        assert.deepEqual(await sink.keep(await offer(9)), refused('unproven', 5))
        assert.equal(await newestSize(), 5)
      })
    },
    {
      name: 'refuses a first checkpoint that goes on from one it does not have',
      run: exam(async ({ sink, offer, newestSize }) => {
        assert.deepEqual(await sink.keep(await offer(5, { fromSize: 3 })), refused('unproven', 0))
        assert.equal(await newestSize(), undefined)
      })
    },
    {
      name: 'keeps logs apart, whatever they are called',
      run: exam(async ({ sink, offer, newestSize }) => {
        for (const [at, log] of LOGS.entries()) {
          assert.deepEqual(
            await sink.keep(await offer(LOGS.length - at, { log, history: log })),
            { outcome: 'kept' },
            log
          )
        }
        for (const [at, log] of LOGS.entries()) assert.equal(await newestSize(log), LOGS.length - at, log)
      })
    },
    {
      name: 'refuses what is no checkpoint, and changes nothing',
      run: exam(async ({ sink, offer, newestSize }) => {
        await sink.keep(await offer(5))
        for (const note of NO_CHECKPOINTS) {
          await assert.rejects(
            async () => sink.keep({ note, fromSize: 0, proof: [] }),
            (error) => isSuiteError(error, 'INVALID_OPTIONS'),
            JSON.stringify(note)
          )
        }
        assert.equal(await newestSize(), 5)
      })
    },
    {
      name: 'keeps one of eight pasts that are offered at once',
      run: exam(async ({ sink, offer, origin }) => {
        const offers = await Promise.all(Array.from({ length: OFFERS }, (_, at) => offer(5, { history: `past-${at}` })))
        const verdicts = await Promise.all(offers.map((one) => sink.keep(one)))
        const kept = offers.filter((_, at) => verdicts[at]?.outcome === 'kept')
        assert.equal(kept.length, 1, `${kept.length} of ${OFFERS} pasts were kept`)
        assert.equal(await sink.newest(origin()), kept[0]?.note)
      })
    },
    {
      name: 'keeps one of eight successors that are offered at once',
      run: exam(async ({ sink, offer, newestSize }) => {
        await sink.keep(await offer(3))
        const offers = await Promise.all(Array.from({ length: OFFERS }, (_, at) => offer(4 + at, { fromSize: 3 })))
        const verdicts = await Promise.all(offers.map((one) => sink.keep(one)))
        const kept = offers.filter((_, at) => verdicts[at]?.outcome === 'kept')
        assert.equal(kept.length, 1, `${kept.length} of ${OFFERS} successors were kept`)
        assert.equal(await newestSize(), sizeIn(kept[0]?.note ?? ''))
      })
    },
    {
      name: 'does nothing under a signal that has aborted',
      run: exam(async ({ sink, offer, newestSize }) => {
        const reason = new Error('no longer wanted')
        const first = await offer(3)
        await assert.rejects(
          async () => sink.keep(first, { signal: AbortSignal.abort(reason) }),
          (error) => error === reason
        )
        assert.equal(await newestSize(), undefined)
      })
    },
    {
      name: 'has what it kept when it is opened anew, and refuses another past as before',
      needs: ['reopening'],
      run: exam(async ({ sink, offer, origin, reopen }) => {
        await sink.keep(await offer(3))
        const second = await offer(5, { fromSize: 3 })
        await sink.keep(second)
        const reopened = await reopen()
        assert.equal(await reopened.newest(origin()), second.note)
        assert.deepEqual(await reopened.keep(await offer(4)), refused('smaller', 5))
        assert.deepEqual(await reopened.keep(await offer(5, { history: 'b' })), refused('different', 5))
        assert.deepEqual(await reopened.keep(await offer(8, { fromSize: 5 })), { outcome: 'kept' })
      })
    }
  ]
}
