export {
  type CreateOversightStore,
  type OversightStoreSubject,
  oversightStoreConformance
} from './oversight-store-conformance.ts'
