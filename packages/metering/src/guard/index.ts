export { type QuotaGuard, type QuotaGuardOptions, quotaGuard } from './quota-guard.ts'
