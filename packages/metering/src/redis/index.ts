export { type RedisQuotaStore, redisQuotaStore } from './redis-quota-store.ts'
