import { createDirectory, eligible, principalsBehind, seatsOf } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { asking, people, person, scripted } from './people.ts'

const AT = 1_000

describe('who may decide about a request', () => {
  const directory = createDirectory({
    approvers: [
      person('ana'),
      person('ana-admin', { principal: 'ana' }),
      person('agent-7', { principal: 'ana' }),
      person('uma', { away: [{ from: 0, until: 2_000, delegate: 'uma-deputy' }] }),
      person('uma-root', { principal: 'uma', away: [{ from: 0, until: 2_000, delegate: 'bo' }] }),
      ...people('uma-deputy', 'bo', 'cy')
    ]
  })
  const deciding = async (
    approvers: readonly string[],
    requestedBy: { readonly agent: string; readonly onBehalfOf?: string },
    known: typeof directory | undefined = directory
  ): Promise<readonly string[]> => {
    const { seats } = await seatsOf({ approvers }, { directory: known, ...asking(), at: AT })
    const principals = await principalsBehind(requestedBy, known, asking())
    return eligible(seats, requestedBy, principals).map(({ approver }) => approver)
  }

  it.each<[string, readonly string[], { readonly agent: string; readonly onBehalfOf?: string }, readonly string[]]>([
    ['the agent', ['agent-9', 'cy'], { agent: 'agent-9' }, ['cy']],
    ['the human behind it', ['ana', 'cy'], { agent: 'agent-9', onBehalfOf: 'ana' }, ['cy']],
    ['that human in other letters', ['ana', 'cy'], { agent: 'agent-9', onBehalfOf: 'ＡNA' }, ['cy']],
    ['that human under another id', ['ana-admin', 'cy'], { agent: 'agent-9', onBehalfOf: 'ana' }, ['cy']],
    ['whoever that human is in the end', ['ana', 'cy'], { agent: 'agent-9', onBehalfOf: 'ana-admin' }, ['cy']],
    ['the owner of a service account', ['ana', 'cy'], { agent: 'agent-7' }, ['cy']],
    ['the owner under another id', ['ana-admin', 'cy'], { agent: 'agent-7', onBehalfOf: 'bo' }, ['cy']],
    ['a delegate of the human behind it', ['uma', 'cy'], { agent: 'agent-9', onBehalfOf: 'uma' }, ['cy']],
    ['a delegate of another id of theirs', ['uma-root', 'cy'], { agent: 'agent-9', onBehalfOf: 'uma' }, ['cy']]
  ])('is not %s (pitfall 20)', async (_, tier, requestedBy, expected) => {
    expect(await deciding(tier, requestedBy)).toEqual(expected)
  })

  it('is everyone else, delegates of others too', async () => {
    expect(await deciding(['uma', 'ana', 'cy'], { agent: 'agent-9', onBehalfOf: 'bo' })).toEqual([
      'uma-deputy',
      'ana',
      'cy'
    ])
  })

  it('is judged by ids alone without a directory', async () => {
    const named = (id: string) =>
      ({ approver: id, principal: id, roles: [], authority: 0, via: { kind: 'named' } }) as const
    expect(await principalsBehind({ agent: 'agent-7' }, undefined, asking())).toEqual([])
    expect(eligible([named('ana'), named('Agent-7')], { agent: 'agent-7' }, [])).toEqual([named('ana')])
  })

  it('is not known while the directory fails', async () => {
    const failing = Object.assign(scripted(directory), { mood: 'rejects' as const })
    await expect(principalsBehind({ agent: 'agent-7' }, failing, asking())).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE',
      detail: { asked: { kind: 'approver', name: 'agent-7' } }
    })
  })
})
