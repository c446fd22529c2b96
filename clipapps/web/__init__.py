"""What every page of the demo is made of; the tabs of projects build on it (`Project.demo`), `demos/app.py` puts them
together."""
