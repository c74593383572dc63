import { z } from 'zod'

const ratio = z.number().gt(0).max(1)

/** Thresholds at which no level flaps. */
export const thresholdsSchema = z
  .strictObject({ warningRatio: ratio, warningClearRatio: ratio, criticalRatio: ratio, criticalClearRatio: ratio })
  .refine(
    (all) =>
      all.warningClearRatio <= all.warningRatio &&
      all.criticalClearRatio <= all.criticalRatio &&
      all.warningRatio <= all.criticalRatio,
    'a clear ratio must not be above its level, nor the warning above the critical level'
  )
