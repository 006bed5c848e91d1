Transform = dict
