import type { ConformanceKit } from '@enablement/core/testing'
import { edgeCases } from './quota-store/edge-cases.ts'
import type { CreateQuotaStore } from './quota-store/exam.ts'
import { expiryCases } from './quota-store/expiry-cases.ts'
import { hierarchyCases } from './quota-store/hierarchy-cases.ts'
import { holdCases } from './quota-store/hold-cases.ts'
import { spendCases } from './quota-store/spend-cases.ts'
import { windowCases } from './quota-store/window-cases.ts'

/** The exam of a `QuotaStore`. */
export const quotaStoreConformance: ConformanceKit<CreateQuotaStore, never> = {
  name: 'QuotaStore',
  needs: [],
  cases: [...spendCases, ...windowCases, ...hierarchyCases, ...holdCases, ...expiryCases, ...edgeCases]
}
