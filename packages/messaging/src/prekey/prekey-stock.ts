import { days } from '@enablement/core'
import { wipe } from '../crypto/wipe.ts'
import type { IdentityKeys } from '../identity/identity.ts'
import type { PublicIdentity } from '../identity/public-identity.ts'
import { MessagingError } from '../messaging-error.ts'
import type { MessageStore, PrekeyListing, PrekeyRecord, PrekeyStock } from '../store/message-store.ts'
import { type PublicPrekey, type SignedPrekey, signedPrekeyBinding } from './prekey-bundle.ts'
import type { PrekeyUpload } from './prekey-directory.ts'

/** One-time prekeys that a directory is filled up to. */
const ONE_TIME_TARGET = 100

/**
 * Private one-time prekeys kept, newest by number. A directory that keeps saying it has none would otherwise grow the
 * store for ever; honest ones hand them out in order, so those forgotten were claimed long ago and never used.
 */
const ONE_TIME_KEPT_MAX = 1_000

/** A signed prekey is replaced after 7 days: whoever steals it reads no first message sent later. */
const SIGNED_ROTATION_MS = days(7)

/** How long a peer may use a bundle that it or the directory has kept, beyond the 31 days that messages may be late. */
const BUNDLE_CACHE_MAX_MS = days(1)
const SIGNED_KEPT_MS = days(31) + BUNDLE_CACHE_MAX_MS

const ID_MAX = 0xffff_ffff
const ATTEMPTS_MAX = 8

/**
 * Makes what the directory lacks and commits the private halves; only then is there anything to publish. Numbers are
 * taken in the same commit and never given again, so a crash before publication wastes some and reuses none.
 */
export async function preparePrekeys(
  owner: string,
  keys: IdentityKeys,
  identity: PublicIdentity,
  store: MessageStore,
  options: { readonly remaining: number; readonly now: number }
): Promise<PrekeyUpload> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const stock = await store.loadPrekeyStock(owner)
    const draft = await draftPrekeys(owner, keys, store, stock, options)
    // What was published last has been with the directory until now, whether it stays there or makes way.
    const [latest, ...replaced] = stock.signed
    const { outcome } = await store.commit(owner, {
      prekeys: {
        expectedVersion: stock.version,
        nextId: draft.nextId,
        added: draft.added,
        ...(latest === undefined ? {} : { republished: { id: latest.id, at: options.now } }),
        forgottenSignedIds: forgettable(replaced, options.now),
        forgetOneTimeBelow: Math.max(0, draft.nextId - ONE_TIME_KEPT_MAX)
      }
    })
    for (const { secret } of draft.added) wipe(secret)
    if (outcome === 'committed') {
      return { identity, signedPrekey: draft.signed, oneTimePrekeys: draft.oneTime }
    }
  }
  throw new MessagingError(
    'STORE_CONTENDED',
    `other processes changed the prekeys of ${owner} before each of ${ATTEMPTS_MAX} commits`,
    { record: 'prekeys', attempts: ATTEMPTS_MAX }
  )
}

interface Draft {
  readonly nextId: number
  readonly added: readonly PrekeyRecord[]
  readonly signed: SignedPrekey
  readonly oneTime: readonly PublicPrekey[]
}

async function draftPrekeys(
  owner: string,
  { crypto, signing }: IdentityKeys,
  store: MessageStore,
  stock: PrekeyStock,
  { remaining, now }: { readonly remaining: number; readonly now: number }
): Promise<Draft> {
  const added: PrekeyRecord[] = []
  let nextId = stock.nextId
  const make = async (kind: PrekeyRecord['kind']): Promise<PublicPrekey> => {
    if (nextId > ID_MAX) {
      throw new MessagingError('COUNTER_EXHAUSTED', `${owner} has used all prekey numbers`, {
        counter: 'prekey number'
      })
    }
    const key = await crypto.generateAgreementKey()
    const secret = await crypto.exportAgreementKey(key)
    added.push({ kind, id: nextId, secret, createdAt: now, publishedAt: now })
    nextId += 1
    return { id: nextId - 1, publicKey: key.publicKey }
  }

  const current = stock.signed[0]
  const isCurrent = current !== undefined && now - current.createdAt < SIGNED_ROTATION_MS
  const kept = isCurrent ? await store.loadPrekey(owner, 'signed', current.id) : undefined
  let unsigned: PublicPrekey
  if (kept === undefined) unsigned = await make('signed')
  else {
    unsigned = { id: kept.id, publicKey: (await crypto.importAgreementKey(kept.secret)).publicKey }
    wipe(kept.secret)
  }
  const binding = signedPrekeyBinding(unsigned.id, unsigned.publicKey)
  const signed = { ...unsigned, signature: await crypto.sign(signing, binding) }
  const oneTime: PublicPrekey[] = []
  // A directory is not trusted to count: whatever it says, one call makes a hundred at most.
  const left = Number.isInteger(remaining) && remaining >= 0 ? remaining : 0
  for (let count = left; count < ONE_TIME_TARGET; count += 1) oneTime.push(await make('one-time'))
  return { nextId, added, signed, oneTime }
}

/** Signed prekeys, of those that were replaced, that no honest first message can name any more. */
function forgettable(replaced: readonly PrekeyListing[], now: number): readonly number[] {
  return replaced.filter(({ publishedAt }) => now - publishedAt > SIGNED_KEPT_MS).map(({ id }) => id)
}
