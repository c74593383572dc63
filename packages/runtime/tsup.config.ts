import { preset } from '@enablement/build'

export default preset()
