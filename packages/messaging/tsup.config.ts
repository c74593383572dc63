import { preset } from '@enablement/build'

// `#crypto` is chosen where the package runs, by the conditions in package.json, and not while it is built.
export default preset({ external: ['#crypto'] })
