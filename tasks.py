"""The tasks of the platform: `invoke --list` shows them."""

from invoke.collection import Collection

from toolkit.tasks import images, inspection, lifecycle

namespace = Collection.from_module(lifecycle)
namespace.add_collection(Collection.from_module(images), "images")
for task in Collection.from_module(inspection).tasks.values():
    namespace.add_task(task)
