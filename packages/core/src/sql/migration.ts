/** One step of a component's schema. Once released it is never edited: a later step changes what it made. */
export interface Migration {
  /** 1, 2, 3 … without gaps. */
  readonly version: number
  readonly name: string
  /** One statement an element, in each dialect, since their DDL differs. */
  readonly sqlite: readonly string[]
  readonly postgres: readonly string[]
}

/** A package's tables and how they came to be. */
export interface Schema {
  /** Such as `oversight`; names the component in `enablement_migrations`. */
  readonly component: string
  readonly migrations: readonly Migration[]
}
