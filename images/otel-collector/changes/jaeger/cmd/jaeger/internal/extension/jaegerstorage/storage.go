// Package jaegerstorage is Jaeger's extension with one kind of storage, the memory: the others import the clients of
// every database that Jaeger supports.
package jaegerstorage

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/jaegertracing/jaeger/internal/metrics"
	"github.com/jaegertracing/jaeger/internal/storage/v1"
	"github.com/jaegertracing/jaeger/internal/storage/v1/memory"
	"github.com/jaegertracing/jaeger/internal/storage/v2/api/tracestore"
	memorystore "github.com/jaegertracing/jaeger/internal/storage/v2/memory"
	"github.com/jaegertracing/jaeger/internal/telemetry"
)

var componentType = component.MustNewType("jaeger_storage")

// ID is the identifier of this extension.
var ID = component.NewID(componentType)

// Config has the storage back ends by name.
type Config struct {
	Backends map[string]Backend `mapstructure:"backends"`
}

// Backend is one storage.
type Backend struct {
	Memory memory.Configuration `mapstructure:"memory"`
}

type storageExt struct {
	config    *Config
	telset    component.TelemetrySettings
	factories map[string]tracestore.Factory
}

// NewFactory creates the factory of the extension.
func NewFactory() extension.Factory {
	create := func(_ context.Context, set extension.Settings, config component.Config) (extension.Extension, error) {
		return &storageExt{config.(*Config), set.TelemetrySettings, map[string]tracestore.Factory{}}, nil
	}
	return extension.NewFactory(
		componentType, func() component.Config { return &Config{} }, create, component.StabilityLevelBeta,
	)
}

// Start creates the storages.
func (s *storageExt) Start(_ context.Context, host component.Host) error {
	telset := telemetry.FromOtelComponent(s.telset, host)
	root := telset.Metrics.Namespace(metrics.NSOptions{Name: "jaeger"})
	for name, backend := range s.config.Backends {
		tags := map[string]string{"name": name, "kind": "memory", "role": "tracestore"}
		telset.Metrics = root.Namespace(metrics.NSOptions{Name: "storage", Tags: tags})
		factory, err := memorystore.NewFactory(backend.Memory, telset)
		if err != nil {
			return fmt.Errorf("failed to initialize storage '%s': %w", name, err)
		}
		s.factories[name] = factory
	}
	return nil
}

// Shutdown has nothing to close.
func (*storageExt) Shutdown(context.Context) error { return nil }

// GetTraceStoreFactory returns the storage with this name.
func GetTraceStoreFactory(name string, host component.Host) (tracestore.Factory, error) {
	found, ok := host.GetExtensions()[ID].(*storageExt)
	if !ok || found.factories[name] == nil {
		return nil, fmt.Errorf("cannot find storage '%s' in the configuration of the extension '%s'", name, ID)
	}
	return found.factories[name], nil
}

// GetMetricStorageFactory is called if the configuration names a store of metrics.
func GetMetricStorageFactory(string, component.Host) (storage.MetricStoreFactory, error) {
	return nil, errors.New("this Jaeger has no storage of metrics")
}
