import { pgliteDatabase } from '@enablement/core/postgres'
import { emptyPglite } from '@enablement/services/pglite'
import { outboxContract } from './outbox-contract.ts'

outboxContract('PGlite', async () => pgliteDatabase(await emptyPglite()), { ofOneKey: 30, settled: 60 })
