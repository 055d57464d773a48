// Package prometheusremotewrite is reduced to the function that the exporter calls: the rest of the package imports
// Prometheus's configuration and so the clients of every cloud.
package prometheusremotewrite

import (
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// TranslatorMetricFromOtelMetric returns name, unit and kind of a metric.
func TranslatorMetricFromOtelMetric(metric pmetric.Metric) otlptranslator.Metric {
	kind := otlptranslator.MetricType(otlptranslator.MetricTypeUnknown)
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		kind = otlptranslator.MetricTypeGauge
	case pmetric.MetricTypeSum:
		kind = otlptranslator.MetricTypeNonMonotonicCounter
		if metric.Sum().IsMonotonic() {
			kind = otlptranslator.MetricTypeMonotonicCounter
		}
	case pmetric.MetricTypeSummary:
		kind = otlptranslator.MetricTypeSummary
	case pmetric.MetricTypeHistogram:
		kind = otlptranslator.MetricTypeHistogram
	case pmetric.MetricTypeExponentialHistogram:
		kind = otlptranslator.MetricTypeExponentialHistogram
	}
	return otlptranslator.Metric{Name: metric.Name(), Unit: metric.Unit(), Type: kind}
}
