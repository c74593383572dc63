import { CoreError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { type CreditStore, createCredits } from '@enablement/metering'
import { memoryCreditStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'

const START_AT = Date.UTC(2040, 7, 10)
const signal = new AbortController().signal

async function setUp(error: Error) {
  const platform = testPlatform({ now: START_AT })
  const store = memoryCreditStore({ platform })
  let failing = ''
  const asked: string[] = []
  const sick: CreditStore = {
    ...store,
    transact(name, work, options) {
      asked.push(name.account)
      return name.account === failing ? Promise.reject(error) : store.transact(name, work, options)
    }
  }
  const credits = createCredits({ store: sick, onOverrun: 'owe', expiredReversal: 'breakage' })
  for (const [at, account] of ['a', 'b', 'c'].entries()) {
    await credits
      .wallet({ tenant: 'org', account, unit: 'EUR' })
      .grant({ id: 'g', amount: '1', expiresAt: START_AT + 1_000 + at })
  }
  await platform.clock.advance(2_000)
  asked.length = 0
  const fail = (account: string) => {
    failing = account
  }
  return { duty: credits.duty(), asked, fail, due: () => store.dueWallets(10) }
}

describe('the duty of wallets', () => {
  it('passes over a wallet that cannot be booked, and says so in the end', async () => {
    const damaged = new CoreError('STORE_DAMAGED', 'a row holds something else', { store: 'sql', reason: 'a row' })
    const { duty, fail, due } = await setUp(damaged)
    fail('a')
    await expect(duty.run({ signal })).rejects.toBe(damaged)
    expect((await due()).map(({ account }) => account)).toEqual(['a'])
    fail('')
    expect(await duty.run({ signal })).toEqual({ handled: 1 })
  })

  it('asks a store that is down once', async () => {
    const { duty, fail, asked } = await setUp(
      new CoreError('STORE_UNAVAILABLE', 'down', { store: 'test', operation: 'run' })
    )
    fail('a')
    await expect(duty.run({ signal })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(asked).toEqual(['a'])
  })
})
