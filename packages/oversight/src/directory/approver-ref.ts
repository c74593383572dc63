/** Whom a policy names: a person by id, the members of a group, or whoever is on call by a schedule when it is asked. */
export type ApproverRef = string | { readonly group: string } | { readonly onCall: string }
