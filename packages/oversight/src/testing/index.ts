export {
  type AddressHealthSubject,
  addressHealthConformance,
  type CreateAddressHealth
} from '../email/address-health-conformance.ts'
export {
  type ApproverDirectoryNeed,
  type ApproverDirectoryPeople,
  type ApproverDirectorySubject,
  approverDirectoryConformance,
  type CreateApproverDirectory
} from './approver-directory-conformance.ts'
export {
  type CreateOversightStore,
  type OversightStoreSubject,
  oversightStoreConformance
} from './oversight-store-conformance.ts'
