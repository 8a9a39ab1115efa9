"""Reading Go structs for the table of Kubernetes' own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devcluster import gotypes
from devcluster.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

REGISTER = """
package v1

const GroupName = "example.io"

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&Thing{},
		&ThingList{},
	)
}
"""
TYPES = """
package v1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Thing is a kind.
type Thing struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	/* A comment
	over two lines. */
	Spec Spec `json:"spec"` // and one behind
}

type ThingList struct {
	metav1.ListMeta `json:"metadata,omitempty"`
	Items []Thing `json:"items"`
}

type Mode string

type Limits map[Mode]resource.Quantity

type Spec struct {
	Mode Mode `json:"mode,omitempty"`
	Limits Limits `json:"limits"`
	Secret map[string][]byte `json:"secret,omitempty"`
	Next *Spec `json:"next,omitempty"`
	Since metav1.Time `json:"since,omitempty,omitzero"`
	Count *int32 `json:"count"`
	Plain bool
	Hidden string `json:"-"`
	private string
}

type Unused struct {
	Whatever func() error
}
"""
SPEC = (
    "example.io/v1.Spec Plain:bool count:*int limits:{}quantity mode?:string"
    " next?:*example.io/v1.Spec secret?:{}bytes since!:time"
)
META = """
package v1

type TypeMeta struct {
	Kind string `json:"kind,omitempty"`
}

type ObjectMeta struct {
	Name string `json:"name,omitempty"`
}

type ListMeta struct {
	Continue string `json:"continue,omitempty"`
}
"""


def sources(tmp_path: Path, types: str = TYPES) -> gotypes.Sources:
    for path, text in {
        "api/example/v1/register.go": REGISTER,
        "api/example/v1/types.go": types,
        "api/example/v1/types_test.go": "type Thing struct {\n\tWrong string\n}",
        "machinery/pkg/apis/meta/v1/types.go": META,
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return gotypes.Sources(
        {gotypes.API: tmp_path / "api", gotypes.MACHINERY: tmp_path / "machinery"}
    )


def test_kinds_and_what_they_reach_are_in_the_table(tmp_path: Path) -> None:
    assert gotypes.Table(sources(tmp_path)).lines() == [
        SPEC,
        "example.io/v1.Thing kind?:string metadata?:meta/v1.ObjectMeta spec:example.io/v1.Spec",
        "meta/v1.ObjectMeta name?:string",
    ]


def test_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    types = TYPES.replace("Plain bool", "Plain chan<- bool")
    with pytest.raises(BuildError, match="Plain chan<- bool"):
        gotypes.Table(sources(tmp_path, types)).lines()
