export { type OversightStoreSubject, oversightStoreConformance } from './oversight-store-conformance.ts'
