"""A linear probe on the frozen CLIP backbone: the template of a clipapps project."""

from clipapps.project import Project

PROJECT = Project(name="example", package=__name__, summary="Linear probe on the frozen backbone (template)",
                  modules=("clipapps_example.probe",))
