/** What the library decides by itself is recorded under such names, which no person can have. */
export const SYSTEM_ESCALATION = 'system:escalation'
export const SYSTEM_POLICY = 'system:policy'
export const SYSTEM_DEADLINE = 'system:deadline'
export const SYSTEM_AUTO_APPROVAL = 'system:auto-approval'
