import { createHash } from 'node:crypto'
import {
  type AuditDamage,
  createAuditLog,
  createCheckpointKey,
  ed25519Signer,
  functionCheckpointSink,
  verifyAuditLog,
  verifyAuditLogs
} from '@enablement/core/audit'
import { execute, firstRow, rows, type SqlDatabase, type SqlRow } from '@enablement/core/sql'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { AT, collected, draft, key, type SealedLog, sealedLog } from './sealed-log.ts'

/** A minute and more after everything: past the window in which entries may be unsigned. */
const LATER = testPlatform({ now: AT + 120_000 })

const ENTRIES = 6
const SUBJECTS = Array.from({ length: ENTRIES }, (_, at) => `request:${at + 1}`)
const mallory = ed25519Signer(createCheckpointKey('audit.example.com').signingKey)
const leafHash = (entry: string): Uint8Array =>
  new Uint8Array(createHash('sha256').update(Uint8Array.of(0)).update(entry).digest())

/** What somebody who owns the database can do, from the clumsy to the careful. */
interface Attack {
  readonly what: string
  run(stage: SealedLog): Promise<void>
}

const statements =
  (...texts: readonly string[]): Attack['run'] =>
  async ({ db }) => {
    for (const text of texts) await db.run(() => execute(text))
  }

/** Changes the text of an entry, and its hash to match. */
async function editWithHash(db: SqlDatabase, subject: string): Promise<void> {
  const row = (await db.run(() => firstRow('select * from audit_entries where subject = ?', subject))) as SqlRow
  const entry = (row['entry'] as string).replace('approver:bo', 'approver:al')
  await db.run(() =>
    execute('update audit_entries set entry = ?, leaf_hash = ? where subject = ?', entry, leafHash(entry), subject)
  )
}

/** Gives entries other times, and hashes to match. */
async function redate(db: SqlDatabase, at: number, subjects: readonly string[]): Promise<void> {
  for (const subject of subjects) {
    const row = (await db.run(() => firstRow('select entry from audit_entries where subject = ?', subject))) as SqlRow
    const entry = (row['entry'] as string).replace(/"at":[0-9]+/, `"at":${at}`)
    await db.run(() =>
      execute('update audit_entries set entry = ?, leaf_hash = ? where subject = ?', entry, leafHash(entry), subject)
    )
  }
}

/** Makes the tree of what is there now anew, as the real sealer would; signed by `signer` where there is one. */
async function reseal(stage: SealedLog, signer?: typeof mallory): Promise<void> {
  await statements(
    'update audit_entries set leaf_index = null',
    'delete from audit_heads',
    'delete from audit_nodes'
  )(stage)
  const refuse = async (): Promise<never> => {
    throw new Error('not signed')
  }
  const sink = functionCheckpointSink({ send: signer === undefined ? refuse : async () => {} })
  await stage.seal(stage.another({ sink, signer: signer ?? mallory, observe: () => {} }))
}

const attacks = {
  edit: {
    what: 'an entry is edited',
    run: statements(`update audit_entries set entry = replace(entry, 'bo', 'al') where subject = 'request:3'`)
  },
  editWithHash: {
    what: 'an entry is edited, and its hash with it',
    run: ({ db }) => editWithHash(db, 'request:3')
  },
  editColumn: {
    what: 'the subject that an entry is found by is edited',
    run: statements(`update audit_entries set subject = 'request:9' where subject = 'request:3'`)
  },
  editDetail: {
    what: 'a detail is edited',
    run: statements(`update audit_entries set detail = '{"amount":13}' where subject = 'request:3'`)
  },
  editSalt: {
    what: 'a salt is edited',
    run: statements(
      `update audit_entries set salt = (select salt from audit_entries where subject = 'request:4') where subject = 'request:3'`
    )
  },
  eraseDetail: {
    what: 'a detail is erased without a redaction',
    run: statements(`update audit_entries set detail = null, salt = null where subject = 'request:3'`)
  },
  eraseSalt: {
    what: 'a salt is erased',
    run: statements(`update audit_entries set salt = null where subject = 'request:3'`)
  },
  hideDetail: {
    what: 'a detail is moved into its salt, which gives the same commitment',
    run: async ({ db }) => {
      const row = await db.run(() => firstRow(`select detail, salt from audit_entries where subject = 'request:3'`))
      const salt = Buffer.concat([row?.['salt'] as Uint8Array, Buffer.from(row?.['detail'] as string)])
      await db.run(() =>
        execute(`update audit_entries set detail = '', salt = ? where subject = 'request:3'`, new Uint8Array(salt))
      )
    }
  },
  addDetail: {
    what: 'a detail is added to an entry that has none',
    run: statements(
      `update audit_entries set detail = '{}', salt = (select salt from audit_entries where subject = 'request:4')
       where subject = 'request:6'`
    )
  },
  remove: { what: 'an entry is deleted', run: statements(`delete from audit_entries where subject = 'request:3'`) },
  insert: {
    what: 'an entry is inserted in between',
    run: statements(
      'update audit_entries set leaf_index = leaf_index + 100 where leaf_index >= 3',
      'update audit_entries set leaf_index = leaf_index - 99 where leaf_index >= 103',
      `insert into audit_entries(tenant, id, leaf_index, leaf_hash, action, subject, entry, detail, salt)
       select tenant, 'forged', 3, leaf_hash, action, subject, entry, detail, salt
       from audit_entries where subject = 'request:2'`
    )
  },
  append: {
    what: 'an entry is put after the tree',
    run: statements(
      `insert into audit_entries(tenant, id, leaf_index, leaf_hash, action, subject, entry, detail, salt)
       select tenant, 'forged', 6, leaf_hash, action, subject, entry, detail, salt
       from audit_entries where subject = 'request:2'`
    )
  },
  prepend: {
    what: 'an entry is put before the first',
    run: statements(
      `insert into audit_entries(tenant, id, leaf_index, leaf_hash, action, subject, entry, detail, salt)
       select tenant, 'forged', -1, leaf_hash, action, subject, entry, detail, salt
       from audit_entries where subject = 'request:2'`
    )
  },
  forge: {
    what: 'an entry is forged that is not sealed yet',
    run: async ({ log }) => void (await log.record(draft('forged')))
  },
  reorder: {
    what: 'two entries change places',
    run: statements(
      `update audit_entries set leaf_index = 99 where subject = 'request:2'`,
      `update audit_entries set leaf_index = 1 where subject = 'request:3'`,
      `update audit_entries set leaf_index = 2 where subject = 'request:2'`
    )
  },
  move: {
    what: 'an entry is moved to another tenant',
    run: statements(`update audit_entries set tenant = 'other' where subject = 'request:6'`)
  },
  truncate: {
    what: 'the end is cut off',
    run: statements(`delete from audit_entries where subject in ('request:5', 'request:6')`)
  },
  truncateResealed: {
    what: 'the end is cut off, and the tree made anew',
    run: async (stage) => {
      await attacks.truncate.run(stage)
      await reseal(stage)
    }
  },
  rewriteResealed: {
    what: 'the history is rewritten, and the tree made anew',
    run: async (stage) => {
      await editWithHash(stage.db, 'request:1')
      await reseal(stage)
    }
  },
  rewriteFresh: {
    what: 'the history is rewritten with fresh times, and the tree made anew',
    run: async (stage) => {
      await redate(stage.db, LATER.clock.now(), SUBJECTS)
      await reseal(stage)
    }
  },
  rewriteFirstFresh: {
    what: 'the history is rewritten with a fresh time for its first entry alone, and the tree made anew',
    run: async (stage) => {
      await redate(stage.db, LATER.clock.now(), SUBJECTS.slice(0, 1))
      await reseal(stage)
    }
  },
  postdate: {
    what: 'the entries are given times to come, and the tree made anew',
    run: async (stage) => {
      await redate(stage.db, 9 * AT, SUBJECTS)
      await reseal(stage)
    }
  },
  rewriteSigned: {
    what: 'the history is rewritten, and signed with another key',
    run: async (stage) => {
      await editWithHash(stage.db, 'request:1')
      await reseal(stage, mallory)
    }
  },
  setBack: {
    what: 'the log is set back to an earlier state that was signed',
    // The state of the stage after its first four entries.
    run: async ({ db }) => {
      for (const table of ['audit_entries', 'audit_heads', 'audit_nodes']) {
        await db.run(() => execute(`delete from ${table}`))
        await db.run(() => execute(`insert into ${table} select * from past_${table}`))
      }
    }
  },
  empty: {
    what: 'everything is deleted',
    run: statements('delete from audit_entries', 'delete from audit_heads', 'delete from audit_nodes')
  },
  headEdge: {
    what: 'the head is given another edge',
    run: statements('update audit_heads set edge = (select leaf_hash from audit_entries limit 1)')
  },
  headSize: { what: 'the head is set back', run: statements('update audit_heads set size = 4') },
  headForward: { what: 'the head is put forward', run: statements('update audit_heads set size = 7') },
  headGone: { what: 'the head is deleted', run: statements('delete from audit_heads') },
  checkpointGone: {
    what: 'the checkpoint is deleted',
    run: statements('update audit_heads set checkpoint = null')
  },
  checkpointForgotten: {
    what: 'the checkpoint is deleted, and the head does not remember it',
    run: statements('update audit_heads set checkpoint = null, signed_size = 0')
  },
  nodeChanged: {
    what: 'a stored node is put beside the tree',
    run: statements(
      `insert into audit_nodes(tenant, level, node_index, hash) select tenant, 8, 0, leaf_hash from audit_entries limit 1`
    )
  }
} as const satisfies Record<string, Attack>

type Found = AuditDamage | 'intact'

/**
 * What finds what: `verify` alone, with the public key, and with the key and kept checkpoints. This is the README's
 * table; where it says `intact`, nothing in the database tells.
 */
const table: Readonly<
  Record<'sealed' | 'chained' | 'unsealed', Partial<Record<keyof typeof attacks, readonly [Found, Found, Found]>>>
> = {
  sealed: {
    edit: ['entry-changed', 'entry-changed', 'entry-changed'],
    editWithHash: ['history-rewritten', 'history-rewritten', 'history-rewritten'],
    editColumn: ['entry-misplaced', 'entry-misplaced', 'entry-misplaced'],
    editDetail: ['detail-changed', 'detail-changed', 'detail-changed'],
    editSalt: ['detail-changed', 'detail-changed', 'detail-changed'],
    eraseDetail: ['detail-erased', 'detail-erased', 'detail-erased'],
    eraseSalt: ['detail-erased', 'detail-erased', 'detail-erased'],
    addDetail: ['detail-changed', 'detail-changed', 'detail-changed'],
    hideDetail: ['detail-changed', 'detail-changed', 'detail-changed'],
    remove: ['entry-missing', 'entry-missing', 'entry-missing'],
    insert: ['entry-misplaced', 'entry-misplaced', 'entry-misplaced'],
    append: ['entry-beyond-tree', 'entry-beyond-tree', 'entry-beyond-tree'],
    prepend: ['entry-beyond-tree', 'entry-beyond-tree', 'entry-beyond-tree'],
    reorder: ['history-rewritten', 'history-rewritten', 'history-rewritten'],
    move: ['entry-missing', 'entry-missing', 'entry-missing'],
    truncate: ['entry-missing', 'entry-missing', 'entry-missing'],
    truncateResealed: ['intact', 'unsigned', 'log-shorter'],
    rewriteResealed: ['intact', 'unsigned', 'history-rewritten'],
    rewriteFresh: ['intact', 'intact', 'history-rewritten'],
    rewriteFirstFresh: ['intact', 'unsigned', 'history-rewritten'],
    postdate: ['intact', 'unsigned', 'history-rewritten'],
    rewriteSigned: ['intact', 'checkpoint-invalid', 'checkpoint-invalid'],
    setBack: ['intact', 'intact', 'log-shorter'],
    empty: ['intact', 'intact', 'log-shorter'],
    headEdge: ['tree-changed', 'tree-changed', 'tree-changed'],
    headSize: ['tree-changed', 'tree-changed', 'tree-changed'],
    headForward: ['entry-missing', 'entry-missing', 'entry-missing'],
    headGone: ['entry-beyond-tree', 'entry-beyond-tree', 'entry-beyond-tree'],
    checkpointGone: ['checkpoint-invalid', 'checkpoint-invalid', 'checkpoint-invalid'],
    checkpointForgotten: ['intact', 'unsigned', 'unsigned'],
    nodeChanged: ['tree-changed', 'tree-changed', 'tree-changed'],
    forge: ['intact', 'unsigned', 'unsigned']
  },
  chained: {
    edit: ['entry-changed', 'entry-changed', 'entry-changed'],
    editWithHash: ['tree-changed', 'tree-changed', 'tree-changed'],
    remove: ['entry-missing', 'entry-missing', 'entry-missing'],
    insert: ['entry-misplaced', 'entry-misplaced', 'entry-misplaced'],
    reorder: ['tree-changed', 'tree-changed', 'tree-changed'],
    truncate: ['entry-missing', 'entry-missing', 'entry-missing'],
    truncateResealed: ['intact', 'unsigned', 'unsigned'],
    rewriteResealed: ['intact', 'unsigned', 'unsigned']
  },
  unsealed: {
    edit: ['entry-changed', 'entry-changed', 'entry-changed'],
    editColumn: ['entry-misplaced', 'entry-misplaced', 'entry-misplaced'],
    editDetail: ['detail-changed', 'detail-changed', 'detail-changed'],
    eraseDetail: ['detail-erased', 'detail-erased', 'detail-erased'],
    editWithHash: ['intact', 'unsigned', 'unsigned'],
    remove: ['intact', 'unsigned', 'unsigned'],
    forge: ['intact', 'unsigned', 'unsigned'],
    truncate: ['intact', 'unsigned', 'unsigned']
  }
}

/** Six entries, the last without a detail; sealed and signed after the fourth and the sixth, where they are at all. */
async function stageOf(
  kind: keyof typeof table
): Promise<{ readonly stage: SealedLog; readonly checkpoints: string[] }> {
  const stage = await sealedLog()
  const ordering = kind === 'chained' ? 'chained' : 'deferred'
  const log = createAuditLog({ db: stage.db, platform: stage.platform, ordering })
  const checkpoints: string[] = []
  const { detail: _, ...bare } = draft(ENTRIES)
  for (let number = 1; number <= ENTRIES; number++) {
    await log.record(number === ENTRIES ? bare : draft(number))
    if (kind !== 'sealed' || (number !== 4 && number !== ENTRIES)) continue
    await stage.seal()
    checkpoints.push(await stage.kept())
    if (number === ENTRIES) continue
    for (const table of ['audit_entries', 'audit_heads', 'audit_nodes']) {
      await stage.db.run(() => execute(`create table past_${table} as select * from ${table}`))
    }
  }
  return { stage, checkpoints }
}

describe.for(['sealed', 'chained', 'unsealed'] as const)('tampering with %s entries (§5 Audit)', (kind) => {
  it('is found in a log that nobody touched by nobody', async () => {
    const { stage, checkpoints } = await stageOf(kind)
    await using _ = stage
    const { verifierKey } = key
    expect(await verifyAuditLog(stage.db, 'org_42')).toMatchObject({ outcome: 'intact', entries: 6 })
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey, checkpoints, platform: stage.platform })).toEqual({
      outcome: 'intact',
      tenant: 'org_42',
      entries: 6,
      sealed: kind === 'unsealed' ? 0 : 6,
      signed: kind === 'sealed' ? 6 : 0,
      root: expect.stringMatching(/^[0-9a-f]{64}$/),
      checkpoints: checkpoints.length
    })
  })

  const cases = Object.entries(table[kind]) as [keyof typeof attacks, readonly [Found, Found, Found]][]
  it.for(cases)('%s: by verifying, with the key, with kept checkpoints: %j', async ([name, expected]) => {
    const { stage, checkpoints } = await stageOf(kind)
    await using _ = stage
    await attacks[name].run(stage)
    const { verifierKey } = key
    const found: Found[] = []
    for (const options of [{}, { verifierKey }, { verifierKey, checkpoints }]) {
      const result = await verifyAuditLog(stage.db, 'org_42', { ...options, platform: LATER })
      found.push(result.outcome === 'broken' ? result.reason : 'intact')
    }
    expect({ what: attacks[name].what, found }).toEqual({ what: attacks[name].what, found: expected })
  })
})

describe('a kept checkpoint', () => {
  it.for(['rewriteResealed', 'rewriteSigned', 'truncateResealed', 'setBack'] as const)(
    'finds without any key that %s',
    async (name) => {
      const { stage, checkpoints } = await stageOf('sealed')
      await using _ = stage
      await attacks[name].run(stage)
      expect(await verifyAuditLog(stage.db, 'org_42', { checkpoints })).toMatchObject({
        outcome: 'broken',
        reason: name === 'rewriteResealed' || name === 'rewriteSigned' ? 'history-rewritten' : 'log-shorter'
      })
    }
  )

  it('finds a log of which nothing is left', async () => {
    const { stage, checkpoints } = await stageOf('sealed')
    await using _ = stage
    await attacks.empty.run(stage)
    const found = await collected(verifyAuditLogs(stage.db, { checkpoints }))
    expect(found).toMatchObject([{ outcome: 'broken', tenant: 'org_42', reason: 'log-shorter', leafIndex: 4 }])
  })

  it('is of no use when it was tampered with, and counts as damage where there is a key', async () => {
    const { stage, checkpoints } = await stageOf('sealed')
    await using _ = stage
    const [first = ''] = checkpoints
    const changed = first.replace('\n4\n', '\n5\n')
    const { verifierKey } = key
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey, checkpoints: [changed] })).toMatchObject({
      outcome: 'broken',
      reason: 'checkpoint-invalid'
    })
  })

  it('by the key before the last counts, when both keys are given', async () => {
    const { stage, checkpoints } = await stageOf('sealed')
    await using _ = stage
    const next = createCheckpointKey('audit.example.com')
    await stage.log.record(draft('later'))
    await stage.seal(stage.another({ signer: ed25519Signer(next.signingKey) }))
    const { platform } = stage
    const kept = [...checkpoints, await stage.kept()]
    const both = { verifierKey: [key.verifierKey, next.verifierKey], checkpoints: kept, platform }
    expect(await verifyAuditLog(stage.db, 'org_42', both)).toMatchObject({
      outcome: 'intact',
      signed: 7,
      checkpoints: 3
    })
    for (const one of both.verifierKey) {
      expect(await verifyAuditLog(stage.db, 'org_42', { ...both, verifierKey: one })).toMatchObject({
        outcome: 'broken',
        reason: 'checkpoint-invalid'
      })
    }
  })

  it('of another log is passed over', async () => {
    const { stage, checkpoints } = await stageOf('sealed')
    await using _ = stage
    const others = checkpoints.map((note) => note.replace('/org_42', '/org_43'))
    expect(await verifyAuditLog(stage.db, 'org_42', { checkpoints: others })).toMatchObject({
      outcome: 'intact',
      checkpoints: 0
    })
  })
})

describe('the next sealing', () => {
  it.for([
    ['truncateResealed', 'shorter'],
    ['rewriteResealed', 'rewritten'],
    ['setBack', 'shorter'],
    ['empty', 'shorter']
  ] as const)('signs nothing after %s, and says why', async ([name, damage]) => {
    const { stage } = await stageOf('sealed')
    await using _ = stage
    await attacks[name].run(stage)
    await stage.log.record(draft('later'))
    await stage.seal()
    expect(stage.events).toContainEqual(
      expect.objectContaining({ type: 'audit.log-damaged', tenant: 'org_42', damage, signedSize: 6 })
    )
    expect(await stage.kept()).toContain('\n6\n')
  })

  it('signs nothing of a log that has grown past the checkpoint with another history', async () => {
    const { stage } = await stageOf('sealed')
    await using _ = stage
    await attacks.truncateResealed.run(stage)
    for (let number = 0; number < 5; number++) await stage.log.record(draft(`later-${number}`))
    await stage.seal()
    expect(stage.events).toContainEqual(
      expect.objectContaining({ type: 'audit.log-damaged', damage: 'rewritten', size: 9, signedSize: 6 })
    )
  })

  it('signs nothing of a tree that has lost a leaf', async () => {
    const { stage } = await stageOf('sealed')
    await using _ = stage
    // One that the proof needs.
    await stage.db.run(() => execute(`delete from audit_entries where subject = 'request:6'`))
    await stage.log.record(draft('later'))
    await stage.seal()
    expect(stage.events).toContainEqual(expect.objectContaining({ type: 'audit.log-damaged', damage: 'unreadable' }))
  })
})

describe('a redaction', () => {
  it('that was forged excuses no erased detail', async () => {
    const { stage } = await stageOf('sealed')
    await using _ = stage
    const row = await stage.db.run(() => firstRow(`select id from audit_entries where subject = 'request:3'`))
    await attacks.eraseDetail.run(stage)
    // The columns say that there is a redaction, and the entry that they belong to does not.
    await stage.db.run(() =>
      execute(
        `update audit_entries set action = 'audit.redacted', subject = ? where subject = 'request:5'`,
        ['audit', row?.['id']].join(':')
      )
    )
    expect(await stage.log.verify('org_42')).toMatchObject({ outcome: 'broken', reason: 'entry-misplaced' })
  })

  it('leaves nothing that a guess could be checked against', async () => {
    const { stage } = await stageOf('sealed')
    await using _ = stage
    const [row] = await stage.db.run(() => rows(`select id, salt from audit_entries where subject = 'request:3'`))
    const salt = Buffer.from(row?.['salt'] as Uint8Array).toString('hex')
    await stage.db.run(() =>
      stage.log.redact({ tenant: 'org_42', id: row?.['id'] as string, actor: 'officer:di', reason: 'erasure' })
    )
    const left = JSON.stringify(
      await stage.db.run(() => rows('select * from audit_entries')),
      (_key, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value)
    )
    expect(left).not.toContain(salt)
    await stage.seal()
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey: key.verifierKey })).toMatchObject({
      outcome: 'intact',
      entries: 7,
      signed: 7
    })
  })
})

describe('verifying', () => {
  it('goes on over pages and stored nodes, to the entry', async () => {
    await using stage = await sealedLog()
    await stage.db.run(function* () {
      for (let number = 1; number <= 600; number++) yield* stage.log.append(draft(number))
    })
    await stage.seal()
    const progress: number[] = []
    expect(
      await verifyAuditLog(stage.db, 'org_42', { progress: ({ verified }) => progress.push(verified) })
    ).toMatchObject({ outcome: 'intact', entries: 600, signed: 600 })
    expect(progress).toEqual([256, 512, 600])
    for (const leafIndex of [0, 255, 256, 511, 512, 599]) {
      const [row] = await stage.db.run(() => rows('select entry from audit_entries where leaf_index = ?', leafIndex))
      const entry = row?.['entry'] ?? null
      await stage.db.run(() => execute('update audit_entries set entry = ? where leaf_index = ?', '{}', leafIndex))
      expect(await stage.log.verify('org_42')).toMatchObject({ outcome: 'broken', leafIndex })
      await stage.db.run(() => execute('update audit_entries set entry = ? where leaf_index = ?', entry, leafIndex))
    }
    for (const [text, reason] of [
      [
        'update audit_nodes set hash = (select leaf_hash from audit_entries limit 1) where node_index = 1',
        'tree-changed'
      ],
      ['delete from audit_nodes where node_index = 1', 'tree-changed']
    ] as const) {
      await stage.db.run(() => execute(text))
      expect(await stage.log.verify('org_42')).toMatchObject({ outcome: 'broken', reason })
    }
  })

  it('stops when it is told to, and throws the reason', async () => {
    await using stage = await sealedLog()
    await stage.db.run(function* () {
      for (let number = 1; number <= 300; number++) yield* stage.log.append(draft(number))
    })
    await stage.seal()
    const controller = new AbortController()
    const reason = new Error('enough')
    const progress = (): void => controller.abort(reason)
    await expect(verifyAuditLog(stage.db, 'org_42', { progress, signal: controller.signal })).rejects.toBe(reason)
  })

  it.for([
    [{ verifierKey: 'audit.example.com+00000000+AAAA' }, 'verifierKey'],
    [{ verifierKey: [] }, 'verifierKey'],
    [{ checkpoints: ['not one'] }, 'checkpoints.0'],
    [{ window: { maxMs: 0 } }, 'window.maxMs'],
    [{ keys: [] }, 'keys']
  ] as const)('refuses %j with the path', async ([options, path]) => {
    await using stage = await sealedLog()
    await expect(verifyAuditLog(stage.db, 'org_42', options as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path }] }
    })
    await expect(collected(verifyAuditLogs(stage.db, options as never))).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })

  it('takes every log of the database, and a signed one within its window', async () => {
    await using stage = await sealedLog()
    for (const tenant of ['b', 'a', 'ü', 'c']) await stage.log.record(draft(1, tenant))
    await stage.seal()
    for (const tenant of ['d', 'c']) await stage.log.record(draft(2, tenant))
    const options = { verifierKey: key.verifierKey, platform: stage.platform }
    const found = await collected(verifyAuditLogs(stage.db, options))
    expect(found.map((one) => [one.tenant, one.outcome])).toEqual(
      ['a', 'b', 'c', 'd', 'ü'].map((tenant) => [tenant, 'intact'])
    )
    const window = { maxRows: 1 }
    await stage.log.record(draft(3, 'd'))
    const strict = await collected(verifyAuditLogs(stage.db, { ...options, window }))
    expect(strict.filter(({ outcome }) => outcome === 'broken')).toMatchObject([{ tenant: 'd', reason: 'unsigned' }])
  })
})
