import { testPlatform } from '@enablement/core/testing'
import {
  type CryptoProvider,
  createIdentity,
  createMessenger,
  type Identity,
  type MessageStore,
  type MessagingEvent,
  type Messenger,
  type PrekeyDirectory,
  type Trust
} from '@enablement/messaging'
import { inProcessDirectory, memoryMessageStore } from '@enablement/messaging/memory'
import { type PostOffice, postOffice } from './post-office.ts'

/** An agent with everything it is made of. */
export interface Citizen {
  readonly messenger: Messenger
  readonly identity: Identity
  readonly store: MessageStore
  readonly events: MessagingEvent[]
  /** What it was handed and has acknowledged, as text, in order. */
  readonly heard: string[]
}

export interface Town {
  readonly office: PostOffice
  readonly directory: PrekeyDirectory
  readonly platform: ReturnType<typeof testPlatform>
  settle(address: string, options?: Settle): Promise<Citizen>
}

interface Settle {
  readonly identity?: Identity
  readonly store?: MessageStore
  readonly trust?: Trust
  readonly crypto?: CryptoProvider
  /** Prekeys are published and messages are received and acknowledged, unless this says otherwise. */
  readonly publish?: boolean
  readonly receive?: boolean
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Agents that share a directory, a post office and a virtual clock. */
export function town(): Town {
  const office = postOffice()
  const directory = inProcessDirectory()
  const platform = testPlatform({ seed: 1 })
  return {
    office,
    directory,
    platform,
    async settle(address, options = {}) {
      const { publish = true, receive = true, trust = () => true, store = memoryMessageStore() } = options
      const identity =
        options.identity ?? (await createIdentity(options.crypto === undefined ? {} : { crypto: options.crypto }))
      const events: MessagingEvent[] = []
      const heard: string[] = []
      const messenger = await createMessenger({
        address,
        identity,
        store,
        directory,
        transport: office,
        trust,
        platform,
        observe: (event) => events.push(event)
      })
      if (publish) await messenger.publishPrekeys()
      if (receive) {
        messenger.receive(async (message) => {
          await message.ack()
          heard.push(textOf(message.bytes))
        })
      }
      return { messenger, identity, store, events, heard }
    }
  }
}

/** Two agents with a session that both have used. */
export async function acquainted(): Promise<Town & { alice: Citizen; bob: Citizen }> {
  const place = town()
  const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
  await alice.messenger.send('bob#1', bytesOf('hello'))
  await bob.messenger.send('alice#1', bytesOf('hello back'))
  await quiet(place)
  alice.heard.length = 0
  bob.heard.length = 0
  alice.events.length = 0
  bob.events.length = 0
  place.office.sent.length = 0
  return { ...place, alice, bob }
}

/** Lets promises and handing over come to rest, without letting any timer fire. */
export async function quiet({ platform }: Pick<Town, 'platform'>): Promise<void> {
  await platform.clock.advance(0)
}

/** What a store holds of a session, to be compared before and after. */
export async function sessionOf(citizen: Citizen, peer: string): Promise<string | undefined> {
  const stored = await citizen.store.loadSession(citizen.messenger.address, peer)
  return stored && `${stored.version}:${Buffer.from(stored.record).toString('hex')}`
}

/** Lets time pass until the promise settles: those who lose a race wait before they try again. */
export async function ticking<T>({ platform }: Pick<Town, 'platform'>, promise: Promise<T>): Promise<T> {
  let isSettled = false
  const settled = promise.finally(() => {
    isSettled = true
  })
  while (!isSettled) await platform.clock.advance(1)
  return await settled
}
