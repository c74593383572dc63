import { CoreError } from '@enablement/core'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'

/** What a link was sent for. It orders the choices on the page, and decides nothing. */
export type LinkVerb = 'open' | 'approve' | 'deny'

/** What a link says of itself. It names an invitation, and gives no authority. */
export interface LinkClaims {
  readonly requestId: string
  readonly tenant: string
  /** Who was invited. */
  readonly approver: string
  /** Of what the invitation showed. */
  readonly argumentHash: string
  readonly verb: LinkVerb
  /** Epoch milliseconds. */
  readonly expiresAt: number
  /** The same in all links of one invitation: what makes their votes one. */
  readonly nonce: string
}

/** A key that signs links. */
export interface LinkKey {
  /** Stands in every link that the key signed: 1 to 32 letters, digits, `-` and `_`. */
  readonly id: string
  /** At least 32 bytes from a source of keys, or a text of as many. */
  readonly secret: string | Uint8Array
}

/** What a token turned out to be. */
type OpenedLink =
  | { readonly outcome: 'valid' | 'expired'; readonly claims: LinkClaims }
  /** Of no key that is known, changed, cut or no token at all. */
  | { readonly outcome: 'forged' }

/** Signs with the first of several keys, and knows what any of them signed. */
export interface LinkSeals {
  seal(claims: LinkClaims): string
  open(token: string, now: number): OpenedLink
  /** A seal on something else, such as a form, under the same keys and a purpose of its own. */
  mark(purpose: string, text: string): string
  bears(purpose: string, text: string, mark: string): boolean
}

const SECRET_MIN_BYTES = 32
/** A new key and the old ones whose links have not all expired. */
const KEYS_MAX = 10

/** Ids of 256 characters of three bytes each, in base64url, and then some; URLs of 8 kB are taken everywhere. */
const TOKEN_LENGTH_MAX = 4_096

/** Begins every preimage, so that no mark of one purpose can pass for one of another. The NUL ends it. */
const DOMAIN = '@enablement/oversight/links/1'
const LINK = 'link'

/** Key, claims and mark; in the path, since queries end up in logs and `Referer` headers. */
const TOKEN = /^([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/

export const linkKeysSchema: z.ZodType<readonly LinkKey[]> = z
  .array(
    z.strictObject({
      id: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be 1 to 32 letters, digits, - and _'),
      secret: z.custom<string | Uint8Array>(
        (value) =>
          (typeof value === 'string' || value instanceof Uint8Array) && bytesOf(value).length >= SECRET_MIN_BYTES,
        `must have at least ${SECRET_MIN_BYTES} bytes`
      )
    })
  )
  .min(1)
  .max(KEYS_MAX)
  .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, 'two keys have the same id')

/** A token as it is written: the verb as a letter. */
const claimsSchema = z.tuple([
  z.string(),
  z.string(),
  z.string(),
  z.string(),
  z.enum(['open', 'approve', 'deny']),
  z.int(),
  z.string()
])

/** Seals under keys that were checked. */
export function linkSeals(keys: readonly LinkKey[]): LinkSeals {
  const secrets = new Map(keys.map(({ id, secret }) => [id, bytesOf(secret)]))
  const first = keys[0]?.id as string

  const markBy = (keyId: string, purpose: string, text: string): string | undefined => {
    const secret = secrets.get(keyId)
    if (secret === undefined) return undefined
    return base64url(hmac(sha256, secret, utf8ToBytes(`${DOMAIN}/${purpose}\0${keyId}\0${text}`)))
  }

  return {
    seal({ requestId, tenant, approver, argumentHash, verb, expiresAt, nonce }) {
      const claims = [requestId, tenant, approver, argumentHash, verb, expiresAt, nonce]
      const text = base64url(utf8ToBytes(JSON.stringify(claims)))
      const token = `${first}.${text}.${markBy(first, LINK, text)}`
      if (token.length > TOKEN_LENGTH_MAX) throw tooLong(token.length)
      return token
    },
    open(token, now) {
      if (token.length > TOKEN_LENGTH_MAX) return { outcome: 'forged' }
      const [, keyId = '', text = '', given = ''] = TOKEN.exec(token) ?? []
      const expected = markBy(keyId, LINK, text)
      // Nothing is read of a token before its mark is known to be ours.
      if (expected === undefined || !sameText(given, expected)) return { outcome: 'forged' }
      const parsed = claimsSchema.safeParse(JSON.parse(new TextDecoder().decode(fromBase64url(text))))
      // Signed by us, and in no form of this version.
      if (!parsed.success) return { outcome: 'forged' }
      const [requestId, tenant, approver, argumentHash, verb, expiresAt, nonce] = parsed.data
      const claims = { requestId, tenant, approver, argumentHash, verb, expiresAt, nonce }
      return { outcome: now < expiresAt ? 'valid' : 'expired', claims }
    },
    mark: (purpose, text) => `${first}.${markBy(first, purpose, text)}`,
    bears(purpose, text, mark) {
      const [keyId = '', given = ''] = mark.split('.')
      const expected = markBy(keyId, purpose, text)
      return expected !== undefined && sameText(given, expected)
    }
  }
}

/** The same for one invitation, and for no other. */
export function nonceOf(invitationId: string): string {
  return base64url(sha256(utf8ToBytes(`${DOMAIN}/nonce\0${invitationId}`))).slice(0, 22)
}

function tooLong(length: number): CoreError<'INVALID_OPTIONS'> {
  const message = `names make a token of ${length} characters, and at most ${TOKEN_LENGTH_MAX} are read`
  return new CoreError('INVALID_OPTIONS', `no link was made: ${message}`, {
    subject: 'linksOf',
    issues: [{ path: '', message }]
  })
}

/** A copy, so that what its owner does to the original changes no key. */
function bytesOf(secret: string | Uint8Array): Uint8Array {
  return typeof secret === 'string' ? utf8ToBytes(secret) : Uint8Array.from(secret)
}

/** Whether two texts are the same, in a time that does not depend on where they differ. */
function sameText(left: string, right: string): boolean {
  let difference = left.length ^ right.length
  for (let at = 0; at < right.length; at++) difference |= left.charCodeAt(at) ^ right.charCodeAt(at)
  return difference === 0
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

function fromBase64url(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0))
}
