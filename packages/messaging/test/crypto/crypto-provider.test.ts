import { conformanceTests } from '@enablement/core/testing'
import { cryptoProvider as noble } from '@enablement/messaging/crypto/noble'
import { cryptoProvider as node } from '@enablement/messaging/crypto/node'
import { cryptoProviderConformance } from '@enablement/messaging/testing'
import { describe, expect, it } from 'vitest'

describe.each([noble, node])('the $name crypto provider', (provider) => {
  const exam = conformanceTests(cryptoProviderConformance, { create: () => provider, supports: {} })
  for (const { name, run } of exam) it(name, run)
})

describe('the two providers', () => {
  it('are told apart by their names', () => {
    expect([noble.name, node.name]).toEqual(['noble', 'node'])
  })

  it('compute the same, so that a session does not depend on which one a process uses', async () => {
    const secret = noble.random(32)
    const message = noble.random(300)
    const peer = (await noble.generateAgreementKey()).publicKey
    const shared = await Promise.all(
      [noble, node].map(async (crypto) =>
        crypto.agree(await crypto.importAgreementKey(secret), await crypto.importPeerKey(peer))
      )
    )
    expect(shared[0]).toEqual(shared[1])
    const signatures = await Promise.all(
      [noble, node].map(async (crypto) => crypto.sign(await crypto.importSigningKey(secret), message))
    )
    expect(signatures[0]).toEqual(signatures[1])
    expect(noble.hkdf(secret, message, peer, 100)).toEqual(node.hkdf(secret, message, peer, 100))
  })
})
