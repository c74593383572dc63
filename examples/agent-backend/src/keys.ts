import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createCheckpointKey } from '@enablement/core/audit'
import { createIdentity, exportIdentity, type Identity, importIdentity } from '@enablement/messaging'

/** What would come from a key management service: it must outlive the process and stay out of the databases. */
export interface Keys {
  /** Signs the checkpoints of the audit log. */
  readonly audit: string
  /** Seals sandbox checkpoints. */
  readonly checkpoints: Uint8Array
  /** Seals the records of messaging. */
  readonly messages: Uint8Array
  readonly analyst: Identity
  readonly reporter: Identity
}

/** The folder's keys, made on first use and readable by this user alone. */
export async function openKeys(folder: string): Promise<Keys> {
  const file = path.join(folder, 'keys.json')
  if (!existsSync(file)) {
    const fresh = {
      audit: Buffer.from(createCheckpointKey('agent-backend.example').signingKey),
      checkpoints: randomBytes(32),
      messages: randomBytes(32),
      analyst: await exportIdentity(await createIdentity()),
      reporter: await exportIdentity(await createIdentity())
    }
    const hex = Object.entries(fresh).map(([name, bytes]) => [name, Buffer.from(bytes).toString('hex')])
    writeFileSync(file, JSON.stringify(Object.fromEntries(hex)), { mode: 0o600 })
  }
  const stored = JSON.parse(readFileSync(file, 'utf8')) as Record<keyof Keys, string>
  const bytes = (name: keyof Keys): Uint8Array => new Uint8Array(Buffer.from(stored[name], 'hex'))
  return {
    audit: Buffer.from(bytes('audit')).toString(),
    checkpoints: bytes('checkpoints'),
    messages: bytes('messages'),
    analyst: await importIdentity(bytes('analyst')),
    reporter: await importIdentity(bytes('reporter'))
  }
}
