import { preset } from '@enablement/build'

// `#opener` is chosen where the package runs, by the conditions in package.json, and not while it is built.
export default preset({ external: ['#opener'] })
