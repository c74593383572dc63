export { type RedisDedupStore, type RedisDedupStoreOptions, redisDedupStore } from './redis-dedup-store.ts'
export {
  type RedisQuotaDurability,
  type RedisQuotaStore,
  type RedisQuotaStoreOptions,
  redisQuotaStore
} from './redis-quota-store.ts'
