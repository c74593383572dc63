/** A person of a tier, as they were found when it was asked: kept with the request as evidence of who was chosen and why. */
export interface Seat {
  readonly approver: string
  /** Who that really is; see `Approver.principal`. */
  readonly principal: string
  readonly roles: readonly string[]
  readonly authority: number
  /** How they came to be asked: by name, or for whom or what. */
  readonly via:
    | { readonly kind: 'named' }
    | { readonly kind: 'group' | 'on-call'; readonly of: string }
    /** `principal` is who they stand in for, where that is another name than `of`. */
    | { readonly kind: 'delegate-of'; readonly of: string; readonly principal?: string }
}
