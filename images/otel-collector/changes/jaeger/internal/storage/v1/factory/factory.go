// Package factory creates the storage back ends of Jaeger 1. Only its type is used by Jaeger 2: the back ends, whose
// clients are most of Jaeger's packages, are left out.
package factory

import "github.com/jaegertracing/jaeger/internal/storage/v1/api/spanstore"

// ArchiveStorage is named by the query service.
type ArchiveStorage struct {
	Reader spanstore.Reader
	Writer spanstore.Writer
}
