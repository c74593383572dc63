export { createOpenMeterExport, type OpenMeterEvent, type OpenMeterExportOptions } from './openmeter-export.ts'
